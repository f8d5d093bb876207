package rfc9111

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSurrogateKeys(t *testing.T) {
	require.Equal(t, []string{"a", "b", "c", "d e", "f"}, SurrogateKeys(fields(
		"Surrogate-Key: b a", "Surrogate-Key:  \tc  a ", "Cache-Tag: d e,a,, f", "Cache-Tag: a")))
	require.Empty(t, SurrogateKeys(fields("Surrogate-Key: ", "Cache-Tag: ,")))
	var many []string
	for i := range maxTags + 10 {
		many = append(many, fmt.Sprint("k", i))
	}
	require.Len(t, SurrogateKeys(fields("Surrogate-Key: "+strings.Join(many, " "))), maxTags)
}
