#!/bin/bash
# Compiles: OUT, then the words for go build.
OUT=${1:?"where to"}
shift
INFO=$(mktemp)
./report_build_info.sh > "${INFO}"
export CGO_ENABLED=${CGO_ENABLED:-0}
LDFLAGS=${LDFLAGS:--extldflags -static}
STAMP=""
while read -r line; do
  STAMP="${STAMP} -X ${line}"
done < "${INFO}"
EXTRA=(-trimpath)
if [ "${DEBUG}" == "1" ]; then
  EXTRA=()
fi
time GOOS=${GOOS} GOARCH=${GOARCH} ${GO:-go} build -o "${OUT}" "${EXTRA[@]}" \
  -pkgdir="${GOPATH}/pkg/linux_${GOARCH}" -ldflags "${LDFLAGS} ${STAMP}" "${@}"
