#!/bin/bash
set -o errexit
SUFFIX=""
if [[ "${TARGET_ARCH}" != "amd64" ]]; then
  SUFFIX="-${TARGET_ARCH}"
fi
SHA="${PROXY_REPO_SHA:-$(grep PROXY_REPO_SHA istio.deps -A 4 | cut -f 4 -d '"')}"
BASE="${ISTIO_ENVOY_BASE_URL:-https://storage.googleapis.com/istio-build/proxy}"

function download_envoy_if_necessary () {
  if [[ ! -f "$2" ]]; then
    curl "$1" | tar xz
  fi
}

if [[ -n "${DEBUG_IMAGE:-}" ]]; then
  download_envoy_if_necessary "${BASE}/envoy-debug-${SHA}${SUFFIX}.tar.gz" "${TARGET_OUT_LINUX}/debug/envoy-${SHA}" envoy
else
  echo "no debug build"
fi
download_envoy_if_necessary "${BASE}/envoy-alpha-${SHA}${SUFFIX}.tar.gz" "${TARGET_OUT_LINUX}/release/envoy-${SHA}" envoy
