package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/modproxy/modproxy/cache/store"
)

// diskFile returns the only file with an ending.
func diskFile(t testing.TB, root, ext string) string {
	found := diskFiles(t, root, ext)
	require.Len(t, found, 1)
	return found[0]
}

func diskFiles(t testing.TB, root, ext string) (found []string) {
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() && filepath.Ext(path) == ext {
			found = append(found, path)
		}
		return err
	}))
	return found
}

const diskKey = "http://example.org/page"

// wrongAnswer looks a key up as a cache does, and reports an answer that is
// not what was stored.
func wrongAnswer(t testing.TB, s store.Store, want *store.Meta, body []byte) (hit bool, wrong string) {
	entries, err := s.Get(context.Background(), diskKey)
	require.NoError(t, err)
	for _, e := range entries {
		m := e.Meta()
		if m.Key != want.Key || m.Status != want.Status || m.Header.Get("X-Seed") != want.Header.Get("X-Seed") || len(m.Header) != len(want.Header) {
			return true, "metadata"
		}
		b, err := e.Open()
		if err != nil {
			continue
		}
		got, err := io.ReadAll(b)
		b.Close()
		switch {
		case err != nil && bytes.HasPrefix(body, got):
		case !bytes.Equal(got, body):
			return true, "body"
		default:
			hit = true
		}
	}
	return hit, ""
}

// TestDiskEveryByte flips every byte of every file in turn, of a directory that
// is opened then, and of one in use.
func TestDiskEveryByte(t *testing.T) {
	for name, n := range map[string]int{"empty": 0, "small": 300, "large": smallBody + 100, "blocks": sumBlock + 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := memoryDir(t)
			d := &Store{Root: root}
			storeSeed(t, d, diskKey, 7, n)
			require.NoError(t, d.Close())
			meta := seedMeta(diskKey, 7, n)
			body := seedBody(7, n)

			for _, ext := range []string{metaExt, bodyExt} {
				path := diskFile(t, root, ext)
				name, err := filepath.Rel(root, path)
				require.NoError(t, err)
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				var places []int
				for i := range data {
					// Of long bodies some do; each is a directory to be opened.
					if len(data) < 1000 || i%(len(data)/100) == 0 || i == len(data)-1 {
						places = append(places, i)
					}
				}
				for _, i := range places {
					damaged := copyDir(t, root)
					bad := bytes.Clone(data)
					bad[i] ^= 1 << (i % 8)
					require.NoError(t, os.WriteFile(filepath.Join(damaged, name), bad, 0o600))
					requireDamaged(t, damaged, meta, body)
				}
				for _, bad := range [][]byte{data[:len(data)/2], data[:max(0, len(data)-1)], append(bytes.Clone(data), 0)} {
					damaged := copyDir(t, root)
					require.NoError(t, os.WriteFile(filepath.Join(damaged, name), bad, 0o600))
					if bytes.Equal(bad, data) || n <= smallBody && ext == bodyExt && len(bad) > len(data) {
						continue // more bytes than are read do no harm
					}
					requireDamaged(t, damaged, meta, body)
				}
			}
		})
	}
}

func copyDir(t testing.TB, root string) string {
	to := memoryDir(t)
	require.NoError(t, os.CopyFS(to, os.DirFS(root)))
	return to
}

// requireDamaged opens a directory in which something is wrong.
func requireDamaged(t testing.TB, root string, meta *store.Meta, body []byte) {
	var log recordedLog
	d := &Store{Root: root, Logger: slog.New(&log)}
	defer d.Close()
	for range 2 {
		hit, wrong := wrongAnswer(t, d, meta, body)
		require.Empty(t, wrong)
		require.False(t, hit, "damage that nobody saw")
	}
	require.Equal(t, []string{"WARN cache: a stored response is damaged and was removed"}, log.all())
	require.Zero(t, d.Stats().Entries)
	require.Empty(t, diskFiles(t, root, metaExt))
	require.Empty(t, diskFiles(t, root, bodyExt))
}

// TestDiskDamagedInUse changes files of a store that has served them already.
func TestDiskDamagedInUse(t *testing.T) {
	times := 300
	if raceDetector {
		times = 30
	}
	for name, n := range map[string]int{"small": 300, "large": smallBody + 100, "blocks": 3*sumBlock + 100} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := memoryDir(t)
			d := &Store{Root: root}
			defer d.Close()
			for i := range times {
				seed := i + 1
				storeSeed(t, d, diskKey, seed, n)
				meta, body := seedMeta(diskKey, seed, n), seedBody(seed, n)
				if i%3 > 0 {
					hit, wrong := wrongAnswer(t, d, meta, body)
					require.Empty(t, wrong)
					require.True(t, hit)
				}
				path := diskFile(t, root, bodyExt)
				if i%10 == 0 && n > smallBody {
					// Until it is trusted, and sent unread.
					require.Eventually(t, func() bool {
						wrongAnswer(t, d, meta, body)
						b, err := diskGet(t, d, diskKey)[0].Open()
						require.NoError(t, err)
						defer b.Close()
						_, trusted := b.(*fileBody)
						return trusted
					}, 10*time.Second, 10*time.Millisecond)
				}
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				require.NoError(t, err)
				at := int64(i) * int64(n) / int64(times)
				_, err = f.WriteAt([]byte{body[at] ^ 4}, at)
				require.NoError(t, err)
				require.NoError(t, f.Close())
				hit, wrong := wrongAnswer(t, d, meta, body)
				require.Empty(t, wrong, i)
				require.False(t, hit)
				require.Empty(t, diskGet(t, d, diskKey))
			}
		})
	}
}

func TestFileStampSettled(t *testing.T) {
	const sec = int64(time.Second)
	for name, test := range map[string]struct {
		stamp fileStamp
		after time.Duration
		want  bool
	}{
		"at once":              {fileStamp{modified: 10*sec + 1}, 0, false},
		"in the same tick":     {fileStamp{modified: 10*sec + 1}, 10 * time.Millisecond, false},
		"later":                {fileStamp{modified: 10*sec + 1}, 101 * time.Millisecond, true},
		"inode changed later":  {fileStamp{modified: 1, state: 10*sec + 1}, 10 * time.Millisecond, false},
		"whole seconds":        {fileStamp{modified: 10 * sec}, 1900 * time.Millisecond, false},
		"whole seconds, later": {fileStamp{modified: 10 * sec}, 2100 * time.Millisecond, true},
		"in the future":        {fileStamp{modified: 10*sec + 1}, -time.Hour, false},
		"gone":                 {fileStamp{modified: 10*sec + 1, gone: true}, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, test.stamp.settled(time.Unix(10, 1).Add(test.after)))
		})
	}
}

// TestDiskBodyOfAnother puts files in the place of others.
func TestDiskBodyOfAnother(t *testing.T) {
	for name, n := range map[string]int{"small": 300, "large": smallBody + 100} {
		for _, ext := range []string{bodyExt, metaExt} {
			t.Run(name+ext, func(t *testing.T) {
				root, otherRoot := memoryDir(t), memoryDir(t)
				d, other := &Store{Root: root}, &Store{Root: otherRoot}
				storeSeed(t, d, diskKey, 1, n)
				storeSeed(t, other, diskKey, 2, n)
				d.Close()
				other.Close()
				require.NoError(t, os.Rename(diskFile(t, otherRoot, ext), diskFile(t, root, ext)))
				requireDamaged(t, root, seedMeta(diskKey, 1, n), seedBody(1, n))
			})
		}
	}
}

// TestDiskHashCollision: a record of another key with the same hash is not
// served. No such keys are known, so the file is made by hand.
func TestDiskHashCollision(t *testing.T) {
	root := memoryDir(t)
	d := &Store{Root: root}
	storeSeed(t, d, diskKey, 1, 10)
	e := diskGet(t, d, diskKey)[0].(*entry)
	d.Close()
	meta := seedMeta("http://example.org/other", 1, 10)
	data, err := appendRecord(nil, e.name.id, e.body.bodySums, meta)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(diskFile(t, root, metaExt), data, 0o600))
	requireDamaged(t, root, seedMeta(diskKey, 1, 10), seedBody(1, 10))
}

// TestDiskDamagedInMidBody: what is read before the damage is right, and the
// reader learns of it.
func TestDiskDamagedInMidBody(t *testing.T) {
	root := memoryDir(t)
	d := &Store{Root: root}
	n := 4 * sumBlock
	storeSeed(t, d, diskKey, 1, n)
	d.Close()
	path := diskFile(t, root, bodyExt)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[2*sumBlock+5] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))

	for name, read := range map[string]func(store.Body) ([]byte, error){
		"Read": func(b store.Body) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{b}) },
		"WriteTo": func(b store.Body) ([]byte, error) {
			var w bytes.Buffer
			_, err := io.Copy(&w, b)
			return w.Bytes(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Store{Root: copyDir(t, root)}
			defer d.Close()
			b, err := diskGet(t, d, diskKey)[0].Open()
			require.NoError(t, err)
			defer b.Close()
			got, err := read(b)
			require.ErrorIs(t, err, store.ErrDamaged)
			require.Len(t, got, 2*sumBlock)
			require.True(t, bytes.Equal(got, data[:2*sumBlock]))
			_, err = b.Read(make([]byte, 1))
			require.ErrorIs(t, err, store.ErrDamaged, "again")
			require.Empty(t, diskGet(t, d, diskKey))

			// A range of what is right is readable; nothing else was read for it.
			d2 := &Store{Root: copyDir(t, root)}
			defer d2.Close()
			b2, err := diskGet(t, d2, diskKey)[0].Open()
			require.NoError(t, err)
			defer b2.Close()
			_, err = b2.Seek(3*sumBlock, io.SeekStart)
			require.NoError(t, err)
			got, err = read(b2)
			require.NoError(t, err)
			require.True(t, bytes.Equal(got, data[3*sumBlock:]))
		})
	}
}

// FuzzDiskRecord: whatever is in a file of metadata, it is read right or not at
// all.
func FuzzDiskRecord(f *testing.F) {
	var sums bodySums
	sums.add(make([]byte, sumBlock+1))
	for _, m := range []*store.Meta{{}, seedMeta(diskKey, 1, 10)} {
		data, err := appendRecord(nil, 5, sums, m)
		require.NoError(f, err)
		f.Add(data[len(recordVersion) : len(data)-4])
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		_, _, err := parseRecord(inner, 5)
		require.ErrorIs(t, err, store.ErrDamaged)

		// With a right version and checksum, to get beyond them.
		data := append([]byte(recordVersion), inner...)
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		meta, body, err := parseRecord(data, 5)
		if err != nil {
			require.ErrorIs(t, err, store.ErrDamaged)
			return
		}
		again, err := appendRecord(nil, 5, body, meta)
		require.NoError(t, err)
		require.Equal(t, data, again)
	})
}

// FuzzDiskName: only what would be written is a name.
func FuzzDiskName(f *testing.F) {
	l := layout{root: "r", levels: 2, length: 2}
	n := entryName{hash: hashKey("k"), id: 1, old: 2}
	for _, path := range []string{l.meta(n), l.body(n), l.path(n.hash, 1, 3, tempExt)} {
		f.Add(filepath.Base(path))
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ext, ok := parseName(s)
		if ok {
			require.Equal(t, s, filepath.Base(l.path(n.hash, n.id, n.old, ext)))
		}
	})
}
