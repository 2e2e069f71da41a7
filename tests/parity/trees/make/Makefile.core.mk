# A small tree in the shape of an Istio release up to 1.12, for tests of parity/.
ISTIO_GO := $(shell dirname $(realpath $(lastword $(MAKEFILE_LIST))))
export VERSION ?= 1.12-dev
BASE_VERSION ?= 1.12-2022-01-01T00-00-00
OUT:=$(TARGET_OUT_LINUX)
export SIDECAR ?= envoy
export ENVOY_BASE ?= https://storage.googleapis.com/istio-build/proxy
export ENVOY_URL ?= $(ENVOY_BASE)/envoy-alpha-${PROXY_REPO_SHA}.tar.gz
export ENVOY_DIR ?= ${OUT}/release
export BOOTSTRAP ?= ${ISTIO_GO}/tools/packaging/common/envoy_bootstrap.json
BOOTSTRAP_DIR = $(dir ${BOOTSTRAP})

ifeq ($(DEBUG),1)
LINK=''
else
LINK='-extldflags -static -s -w'
endif
STANDARD_BINARIES:=./istioctl/cmd/istioctl \
  ./pilot/cmd/pilot-discovery
AGENT_BINARIES:=./pilot/cmd/pilot-agent

build-linux: depend
	GOOS=linux GOARCH=$(TARGET_ARCH) LDFLAGS=$(LINK) common/scripts/gobuild.sh $(OUT)/ $(STANDARD_BINARIES)
	GOOS=linux GOARCH=$(TARGET_ARCH) LDFLAGS=$(LINK) common/scripts/gobuild.sh $(OUT)/ -tags=agent $(AGENT_BINARIES)

include tools/istio-docker.mk
