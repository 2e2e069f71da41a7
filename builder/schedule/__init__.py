"""Jobs for schedulers: what runs `istio-build nightly` each night, written from a project file."""
