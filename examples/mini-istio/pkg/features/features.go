// Package features tells which build tags a binary was compiled with: the files beside this one are guarded by them.
package features

import "strings"

var compiled []string

// Compiled lists the build tags, comma-separated, or says "none".
func Compiled() string {
	if len(compiled) == 0 {
		return "none"
	}
	return strings.Join(compiled, ",")
}
