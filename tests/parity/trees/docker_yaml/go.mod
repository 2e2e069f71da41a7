module istio.io/istio

go 1.25.0
