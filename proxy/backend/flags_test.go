package backend

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFlags(t *testing.T) {
	for _, test := range []struct {
		status        string
		before, after Flags
	}{
		{"+H", 0, HotStandby}, {"D", 0, Disabled}, {"+d-i", IgnoreErrors, Disabled}, {"-H+RN", HotStandby, HotSpare | Draining}, {"C", Stopped, Stopped}, {"", Stopped, Stopped},
	} {
		f, err := ParseFlags(test.status, test.before)
		require.NoError(t, err)
		require.Equal(t, test.after, f)
	}
	_, err := ParseFlags("+X", 0)
	require.ErrorContains(t, err, "unknown letter")
}

// FuzzFlags: what is accepted can be written and read again.
func FuzzFlags(f *testing.F) {
	f.Add("+H-D", uint8(3))
	f.Add("dsinhr", uint8(0))
	f.Fuzz(func(t *testing.T, s string, before uint8) {
		flags, err := ParseFlags(s, Flags(before&0x3f))
		if err != nil {
			return
		}
		again, err := ParseFlags(flags.String(), 0)
		require.NoError(t, err)
		require.Equal(t, flags, again)
	})
}
