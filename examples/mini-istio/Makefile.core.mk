# Of Istio's Makefile.core.mk only what a builder of images reads from it.
BASE_VERSION ?= 1.29-2026-02-04T19-02-21
