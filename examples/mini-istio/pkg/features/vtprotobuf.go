//go:build vtprotobuf

package features

func init() { compiled = append(compiled, "vtprotobuf") }
