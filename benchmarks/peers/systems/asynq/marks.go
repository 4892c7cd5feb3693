package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const header = 64

// markFile is this process's file of marks, laid out as in shared/marks.py.
type markFile struct {
	folder       string
	starts       []uint64
	begun, ended []byte
}

// monotonic is CLOCK_MONOTONIC in ns, as all processes of the bench read it.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		log.Fatal(err)
	}
	return t.Nano()
}

func openMarks() *markFile {
	folder := os.Getenv("PEER_MARKS")
	tasks, err := strconv.Atoi(os.Getenv("PEER_TASKS"))
	if err != nil {
		log.Fatal(err)
	}
	draft := filepath.Join(folder, fmt.Sprintf("%d.new", os.Getpid()))
	file, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	size := header + 10*tasks
	if err := file.Truncate(int64(size)); err != nil {
		log.Fatal(err)
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		log.Fatal(err)
	}
	binary.LittleEndian.PutUint64(data, uint64(os.Getpid()))
	if err := os.Rename(draft, filepath.Join(folder, fmt.Sprintf("%d.marks", os.Getpid()))); err != nil {
		log.Fatal(err)
	}
	return &markFile{
		folder: folder,
		starts: unsafe.Slice((*uint64)(unsafe.Pointer(&data[header])), tasks),
		begun:  data[header+8*tasks : header+9*tasks],
		ended:  data[header+9*tasks : header+10*tasks],
	}
}

func (m *markFile) begin(n int) {
	atomic.CompareAndSwapUint64(&m.starts[n], 0, uint64(monotonic()))
	m.begun[n]++
}

func (m *markFile) end(n int) { m.ended[n]++ }

func (m *markFile) released() bool {
	_, err := os.Stat(filepath.Join(m.folder, "release"))
	return err == nil
}
