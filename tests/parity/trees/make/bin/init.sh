#!/bin/bash
if [[ "${ENVOY_URL:-}" == "" ]]; then
  echo "run it by make"
  exit 1
fi
download_envoy_if_necessary "${ENVOY_URL}" "${ENVOY_DIR}/envoy-${PROXY_REPO_SHA}" "${SIDECAR}"
for plugin in stats metadata_exchange
do
  for kind in wasm compiled.wasm; do
    download_wasm_if_necessary "${ENVOY_BASE}/${plugin}-${PROXY_REPO_SHA}.${kind}" "${ENVOY_DIR}"/"${plugin//_/-}"-filter."${kind}"
  done
done
