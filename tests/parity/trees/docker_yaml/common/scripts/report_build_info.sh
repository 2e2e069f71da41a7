#!/bin/bash
if REVISION=$(git rev-parse HEAD 2> /dev/null); then
  if [[ -z "${IGNORE_DIRTY_TREE}" ]] && [[ -n "$(git status --porcelain)" ]]; then
    REVISION="${REVISION}-dirty"
  fi
fi
STATUS=Clean
if [[ -z "${IGNORE_DIRTY_TREE}" ]] && ! git diff-index --quiet HEAD --; then
  STATUS=Modified
fi
package=istio.io/istio/pkg/version
echo "${package}.buildVersion=${VERSION:-unknown}"
echo "${package}.buildGitRevision=${REVISION}"
echo "${package}.buildStatus=${STATUS}"
echo "${package}.buildTag=$(git describe --tags --always)"
echo "${package}.buildHub=${HUB:-docker.io/istio}"
echo "${package}.buildOS=${BUILD_GOOS}"
echo "${package}.buildArch=${BUILD_GOARCH}"
