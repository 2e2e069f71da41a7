#!/bin/bash
DEFAULT_VARIANT="${DEFAULT_VARIANT:-debug}"

function to_platform_list() {
  echo "\"$(echo "${2}" | sed 's/,/","/g')\""
}

cat <<BAKE
target "$image-$variant" {
    args = {
      BASE_VERSION = "${BASE_VERSION}"
      BASE_DISTRIBUTION = "${variant/default/${DEFAULT_VARIANT}}"
      proxy_version = "istio-proxy:${PROXY_REPO_SHA}"
      istio_version = "${VERSION}"
    }
}
BAKE
