"""Proves that our recipes build what Istio builds: plans beside Istio's own build files, images beside Istio's images."""
