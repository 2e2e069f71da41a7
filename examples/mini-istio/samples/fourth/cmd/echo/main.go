// echo prints its arguments: the program of the image that the example of a user's own recipe builds.
package main

import (
	"fmt"
	"os"
	"strings"

	"istio.io/istio/pkg/version"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		if err := version.Run("echo", false, os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Println(strings.Join(os.Args[1:], " "))
}
