// istioctl answers "version" and "manifest generate" like Istio's and does nothing else.
package main

import (
	"fmt"
	"os"

	"istio.io/istio/pkg/version"
)

const usage = `usage: istioctl version [--remote=false] [-o json] [--short=false] [--features] [--platform]
       istioctl manifest generate`

func main() {
	switch args := os.Args[1:]; {
	case len(args) >= 1 && args[0] == "version":
		exitOn(version.Run("istioctl", true, args[1:], os.Stdout))
	case len(args) == 2 && args[0] == "manifest" && args[1] == "generate":
		exitOn(writeManifest(os.Stdout))
	default:
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
