// Package version carries the stamp that the linker writes into a release build, under Istio's names.
package version

import (
	"fmt"
	"runtime"
)

// Set by "go build -ldflags '-X istio.io/istio/pkg/version.buildVersion=...'".
var (
	buildVersion     = "unknown"
	buildGitRevision = "unknown"
	buildStatus      = "unknown"
	buildTag         = "unknown"
	buildHub         = "unknown"
	buildOS          = "unknown"
	buildArch        = "unknown"
)

// BuildInfo has Istio's fields in Istio's order: printing it with %#v gives Istio's long version line.
type BuildInfo struct {
	Version       string `json:"version"`
	GitRevision   string `json:"revision"`
	GolangVersion string `json:"golang_version"`
	BuildStatus   string `json:"status"`
	GitTag        string `json:"tag"`
}

// Info is this binary's stamp.
var Info = BuildInfo{
	Version:       buildVersion,
	GitRevision:   buildGitRevision,
	GolangVersion: runtime.Version(),
	BuildStatus:   buildStatus,
	GitTag:        buildTag,
}

// DockerHub is the hub that the images of this release are pulled from, "unknown" in a plain "go build".
func DockerHub() string { return buildHub }

// Platform is what the build said it was for; that and the ELF header must agree.
func Platform() string { return fmt.Sprintf("%s/%s", buildOS, buildArch) }

func (b BuildInfo) longForm() string { return fmt.Sprintf("%#v", b) }
