package disk

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/modproxy/modproxy/cache/store"
)

// recordVersion opens a file of metadata.
const recordVersion = "mpd\x01"

// castagnoli is of the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumBlock is how much of a body one checksum is over.
const sumBlock = 256 << 10

// bodySums is what is known of a body's bytes.
type bodySums struct {
	size int64
	sums []uint32 // CRC-32C of each sumBlock bytes
}

// add goes on with the next bytes of the body.
func (s *bodySums) add(p []byte) {
	for len(p) > 0 {
		in := s.size % sumBlock
		if in == 0 {
			s.sums = append(s.sums, 0)
		}
		n := min(int64(len(p)), sumBlock-in)
		last := &s.sums[len(s.sums)-1]
		*last = crc32.Update(*last, castagnoli, p[:n])
		s.size += n
		p = p[n:]
	}
}

// block returns where the block of an offset begins and ends.
func (s *bodySums) block(i int) (start, end int64) {
	start = int64(i) * sumBlock
	return start, min(start+sumBlock, s.size)
}

// appendRecord appends a file of metadata: a version, the id, length and
// checksums of the body, the metadata, and a CRC-32C of all that.
func appendRecord(b []byte, id uint64, body bodySums, meta *store.Meta) ([]byte, error) {
	start := len(b)
	b = append(b, recordVersion...)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, uint64(body.size))
	for _, sum := range body.sums {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	b, err := meta.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

// parseRecord reads a file of metadata, which must be that of an id.
func parseRecord(data []byte, id uint64) (*store.Meta, bodySums, error) {
	const head = len(recordVersion) + 16
	var body bodySums
	if len(data) < head+4 || string(data[:len(recordVersion)]) != recordVersion {
		return nil, body, fmt.Errorf("%w: not a record of this version", store.ErrDamaged)
	}
	data, end := data[:len(data)-4], data[len(data)-4:]
	if binary.LittleEndian.Uint32(end) != crc32.Checksum(data, castagnoli) {
		return nil, body, fmt.Errorf("%w: checksum of record", store.ErrDamaged)
	}
	if binary.LittleEndian.Uint64(data[len(recordVersion):]) != id {
		return nil, body, fmt.Errorf("%w: record of another entry", store.ErrDamaged)
	}
	size := binary.LittleEndian.Uint64(data[len(recordVersion)+8:])
	data = data[head:]
	blocks := size/sumBlock + min(1, size%sumBlock)
	if blocks > uint64(len(data)/4) {
		return nil, body, fmt.Errorf("%w: length of body", store.ErrDamaged)
	}
	body.size = int64(size)
	body.sums = make([]uint32, blocks)
	for i := range body.sums {
		body.sums[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	meta := new(store.Meta)
	if err := meta.UnmarshalBinary(data[4*blocks:]); err != nil {
		return nil, body, err
	}
	return meta, body, nil
}
