DOCKER_TARGETS ?= docker.pilot docker.proxyv2 \
 docker.app_sidecar_centos_8
DOCKER_ALL_VARIANTS ?= debug distroless

docker.pilot: BUILD_PRE=&& chmod 644 envoy_bootstrap.json
docker.pilot: ${BOOTSTRAP_DIR}/envoy_bootstrap.json ${BOOTSTRAP_DIR}/gcp_envoy_bootstrap.json
docker.pilot: $(OUT)/pilot-discovery
docker.pilot: pilot/docker/Dockerfile.pilot
	$(DOCKER_RULE)

docker.proxyv2: ${BOOTSTRAP_DIR}/envoy_bootstrap.json ${BOOTSTRAP_DIR}/gcp_envoy_bootstrap.json
docker.proxyv2: $(ENVOY_DIR)/${SIDECAR} $(OUT)/pilot-agent pilot/docker/Dockerfile.proxyv2
docker.proxyv2: $(ENVOY_DIR)/stats-filter.wasm $(ENVOY_DIR)/stats-filter.compiled.wasm
docker.proxyv2: $(ENVOY_DIR)/metadata-exchange-filter.wasm $(ENVOY_DIR)/metadata-exchange-filter.compiled.wasm
	$(DOCKER_RULE)

docker.app_sidecar_centos_8: $(OUT)/release/istio-sidecar.rpm
	$(DOCKER_RULE)

docker.base: docker/Dockerfile.base
	$(DOCKER_RULE)
docker.distroless: docker/Dockerfile.distroless
	$(DOCKER_RULE)
