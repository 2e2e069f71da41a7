module istio.io/istio

go 1.22.0
