# A small tree in the shape of an Istio release from 1.14 on, for tests of parity/.
BASE_VERSION ?= 1.29-2026-02-01T00-00-00
ISTIO_BASE_REGISTRY ?= gcr.io/istio-release
ARCH := $(TARGET_ARCH)

ifeq ($(DEBUG),1)
LINK=''
else
LINK='-extldflags -static -s -w'
endif

STANDARD_BINARIES:=./istioctl/cmd/istioctl \
  ./pilot/cmd/pilot-discovery
AGENT_BINARIES:=./pilot/cmd/pilot-agent
LINUX_BINARIES:=$(AGENT_BINARIES)
AGENT_TAGS=agent,disable_pgv,grpcnotrace,retrynotrace
STANDARD_TAGS=vtprotobuf,disable_pgv

.PHONY: build-linux
build-linux: depend
	GOOS=linux GOARCH=$(ARCH) LDFLAGS=$(LINK) common/scripts/gobuild.sh $(TARGET_OUT_LINUX)/ -tags=$(STANDARD_TAGS) $(STANDARD_BINARIES)
	GOOS=linux GOARCH=$(ARCH) LDFLAGS=$(LINK) common/scripts/gobuild.sh $(TARGET_OUT_LINUX)/ -tags=$(AGENT_TAGS) $(LINUX_BINARIES)

$(foreach bin,$(STANDARD_BINARIES),$(eval $(bin): build-linux))
