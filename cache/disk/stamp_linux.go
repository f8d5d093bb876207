package disk

import (
	"os"
	"syscall"
)

func stampOf(f *os.File) (fileStamp, error) {
	var st syscall.Stat_t
	var err error
	for {
		// No Stat: it makes three allocations.
		err = syscall.Fstat(int(f.Fd()), &st)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return fileStamp{}, os.NewSyscallError("fstat", err)
	}
	return fileStamp{
		size:     st.Size,
		inode:    int64(st.Ino),
		modified: st.Mtim.Nano(),
		state:    st.Ctim.Nano(),
		gone:     st.Nlink == 0,
	}, nil
}
