/* Prints what the compiler knows about kernel structures and constants, one "name value" a line. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/loop.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>

#define VALUE(name, expression) printf("%s %llu\n", name, (unsigned long long)(expression))
#define CONSTANT(name) VALUE(#name, name)
#define FIELD(type, field) VALUE(#type "." #field, offsetof(struct type, field))
#define SIZE(type) VALUE("sizeof " #type, sizeof(struct type))

int main(void) {
  SIZE(statx);
  FIELD(statx, stx_mask); FIELD(statx, stx_nlink); FIELD(statx, stx_uid); FIELD(statx, stx_gid);
  FIELD(statx, stx_mode); FIELD(statx, stx_ino); FIELD(statx, stx_size);
  FIELD(statx, stx_mtime.tv_sec); FIELD(statx, stx_mtime.tv_nsec);
  FIELD(statx, stx_rdev_major); FIELD(statx, stx_rdev_minor);
  FIELD(statx, stx_dev_major); FIELD(statx, stx_dev_minor);
  SIZE(statfs);
  FIELD(statfs, f_type); FIELD(statfs, f_bsize); FIELD(statfs, f_bavail); FIELD(statfs, f_flags);
  FIELD(dirent64, d_ino); FIELD(dirent64, d_reclen); FIELD(dirent64, d_type); FIELD(dirent64, d_name);
  SIZE(fsverity_enable_arg);
  FIELD(fsverity_enable_arg, version); FIELD(fsverity_enable_arg, hash_algorithm);
  FIELD(fsverity_enable_arg, block_size);
  SIZE(fsverity_digest);
  FIELD(fsverity_digest, digest_algorithm); FIELD(fsverity_digest, digest_size);
  FIELD(fsverity_digest, digest);
  CONSTANT(FS_IOC_ENABLE_VERITY); CONSTANT(FS_IOC_MEASURE_VERITY); CONSTANT(FICLONE);
  SIZE(open_how); FIELD(open_how, flags); FIELD(open_how, mode); FIELD(open_how, resolve);
  SIZE(loop_config); FIELD(loop_config, fd); FIELD(loop_config, block_size);
  VALUE("loop_config.info.lo_offset", offsetof(struct loop_config, info.lo_offset));
  VALUE("loop_config.info.lo_sizelimit", offsetof(struct loop_config, info.lo_sizelimit));
  VALUE("loop_config.info.lo_flags", offsetof(struct loop_config, info.lo_flags));
  VALUE("loop_config.info.lo_file_name", offsetof(struct loop_config, info.lo_file_name));
  CONSTANT(LOOP_CONFIGURE); CONSTANT(LOOP_CLR_FD); CONSTANT(LOOP_CTL_GET_FREE);
  CONSTANT(LO_FLAGS_READ_ONLY); CONSTANT(LO_FLAGS_AUTOCLEAR); CONSTANT(LO_FLAGS_DIRECT_IO);
  SIZE(mount_attr); FIELD(mount_attr, attr_set); FIELD(mount_attr, attr_clr);
  FIELD(mount_attr, propagation); FIELD(mount_attr, userns_fd);
  CONSTANT(MOUNT_ATTR_RDONLY); CONSTANT(MOUNT_ATTR_NOSUID); CONSTANT(MOUNT_ATTR_NODEV);
  CONSTANT(MOUNT_ATTR_NOEXEC); CONSTANT(MOUNT_ATTR_NOATIME); CONSTANT(MOUNT_ATTR_STRICTATIME);
  CONSTANT(MOUNT_ATTR_NODIRATIME); CONSTANT(MOUNT_ATTR_IDMAP);
  CONSTANT(FSCONFIG_SET_FLAG); CONSTANT(FSCONFIG_SET_STRING); CONSTANT(FSCONFIG_SET_FD);
  CONSTANT(FSCONFIG_CMD_CREATE);
  CONSTANT(SYS_open_tree); CONSTANT(SYS_move_mount); CONSTANT(SYS_fsopen); CONSTANT(SYS_fsconfig);
  CONSTANT(SYS_fsmount); CONSTANT(SYS_mount_setattr);
  CONSTANT(O_RDONLY); CONSTANT(O_WRONLY); CONSTANT(O_RDWR); CONSTANT(O_CREAT); CONSTANT(O_EXCL);
  CONSTANT(O_TRUNC); CONSTANT(O_NONBLOCK); CONSTANT(O_DIRECTORY); CONSTANT(O_NOFOLLOW);
  CONSTANT(O_CLOEXEC); CONSTANT(O_PATH); CONSTANT(O_TMPFILE);
  CONSTANT(AT_SYMLINK_NOFOLLOW); CONSTANT(AT_REMOVEDIR); CONSTANT(AT_SYMLINK_FOLLOW);
  CONSTANT(AT_EMPTY_PATH); VALUE("-AT_FDCWD", -AT_FDCWD);
  CONSTANT(RESOLVE_NO_XDEV); CONSTANT(RESOLVE_NO_MAGICLINKS); CONSTANT(RESOLVE_NO_SYMLINKS);
  CONSTANT(RESOLVE_BENEATH);
  CONSTANT(DT_UNKNOWN); CONSTANT(DT_FIFO); CONSTANT(DT_CHR); CONSTANT(DT_DIR); CONSTANT(DT_BLK);
  CONSTANT(DT_REG); CONSTANT(DT_LNK); CONSTANT(DT_SOCK);
  CONSTANT(S_IFMT); CONSTANT(S_IFSOCK); CONSTANT(S_IFLNK); CONSTANT(S_IFREG); CONSTANT(S_IFBLK);
  CONSTANT(S_IFDIR); CONSTANT(S_IFCHR); CONSTANT(S_IFIFO);
  CONSTANT(LOCK_SH); CONSTANT(LOCK_EX); CONSTANT(LOCK_UN);
  CONSTANT(CLONE_NEWNS); CONSTANT(CLONE_NEWUSER); CONSTANT(CLONE_FS);
  CONSTANT(CAP_CHOWN); CONSTANT(CAP_DAC_OVERRIDE); CONSTANT(CAP_DAC_READ_SEARCH);
  CONSTANT(CAP_FOWNER); CONSTANT(CAP_MKNOD); CONSTANT(CAP_SYS_ADMIN);
  return 0;
}
