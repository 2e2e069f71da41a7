package main

const (
	PrimaryVariant = DebugVariant

	DefaultVariant    = "default"
	DebugVariant      = "debug"
	DistrolessVariant = "distroless"
)

func skip(target, variant string) bool {
	return strings.HasPrefix(target, "app_") && variant == DistrolessVariant
}

func createArgs(args Args, target string) map[string]string {
	return map[string]string{
		"BASE_VERSION":        args.BaseVersion,
		"ISTIO_BASE_REGISTRY": args.BaseImageRegistry,
		"BASE_DISTRIBUTION":   baseDist,
		"proxy_version":       args.ProxyVersion,
		"istio_version":       args.IstioVersion,
	}
}
