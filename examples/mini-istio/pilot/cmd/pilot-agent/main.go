// pilot-agent answers "version" like Istio's and does nothing else.
package main

import (
	"fmt"
	"os"

	"istio.io/istio/pkg/version"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "version" {
		fmt.Fprintln(os.Stderr, "usage: pilot-agent version [-o json] [--short] [--features] [--platform]")
		os.Exit(2)
	}
	if err := version.Run("pilot-agent", false, os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
