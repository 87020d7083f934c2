/* A disk of a network: shows a directory through FUSE, and each request takes a given time.

   usage: slowdisk DIRECTORY MICROSECONDS MOUNT_POINT
   For each line of its standard input it prints the number of requests by kind since the last one,
   as JSON. It unmounts and ends when its standard input does.

   - Requests wait side by side, as those of several threads do on a network. Where the kernel sends
     one at a time, as it does when files are created in one directory, they wait in turn.
     libfuse 3.14.0 (Debian 12) also makes it look up the names of one directory one at a time, as
     it forgets the flag FUSE_PARALLEL_DIROPS.
   - A request is one of the kernel. libfuse asks for the attributes of what it has just made; NFS
     returns these in the same answer, so that neither takes time nor is counted here.
   - The kernel keeps names and attributes for one second. NFS keeps those of files for three or
     more (acregmin), but a run that begins much later than the last one has none of them either.
     It does not keep that a name does not exist.
   - Writing does not wait, but closing a written file does: NFS collects the data, and sends them
     at the latest when the file is closed ("close-to-open consistency").
   - Locks wait. Reading waits for each request of the kernel, which reads ahead.
   - Bandwidth is not simulated, and names are listed without attributes.
*/
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum kind {
    GETATTR, READDIR, OPEN, CREATE, READ, WRITE, FLUSH, RENAME, LINK, UNLINK, MKDIR, RMDIR, LOCK,
    OTHER, KINDS
};
static const char *const names[KINDS] = {"getattr", "readdir", "open",   "create", "read",
                                         "write",   "flush",   "rename", "link",   "unlink",
                                         "mkdir",   "rmdir",   "lock",   "other"};
static unsigned long counts[KINDS];
static int root; /* descriptor of the directory that is shown */
static long microseconds;
static _Thread_local bool has_attributes; /* the next getattr of this thread is libfuse's own */

static void count(enum kind kind) {
    __atomic_add_fetch(&counts[kind], 1, __ATOMIC_RELAXED);
}

static void wait_for(enum kind kind) {
    count(kind);
    has_attributes = false;
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
}

/* Return what an operation of FUSE returns in place of the result of a system call. */
static int answer(int result) {
    return result < 0 ? -errno : 0;
}

/* The same for system calls that make something. */
static int answer_made(int result) {
    has_attributes = result >= 0;
    return answer(result);
}

static const char *below_root(const char *path) {
    return path[1] ? path + 1 : ".";
}

static int disk_getattr(const char *path, struct stat *status, struct fuse_file_info *file) {
    if (!has_attributes) wait_for(GETATTR);
    has_attributes = false;
    if (file) return answer(fstat((int)file->fh, status));
    return answer(fstatat(root, below_root(path), status, AT_SYMLINK_NOFOLLOW));
}

static int disk_readlink(const char *path, char *target, size_t size) {
    wait_for(OTHER);
    ssize_t length = readlinkat(root, below_root(path), target, size - 1);
    if (length >= 0) target[length] = 0;
    return answer((int)length);
}

static int disk_readdir(const char *path, void *list, fuse_fill_dir_t add, off_t offset,
                        struct fuse_file_info *file, enum fuse_readdir_flags flags) {
    (void)offset, (void)file, (void)flags;
    wait_for(READDIR);
    int descriptor = openat(root, below_root(path), O_RDONLY | O_DIRECTORY);
    DIR *directory = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (!directory) return -errno;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat status = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        if (add(list, entry->d_name, &status, 0, 0)) break;
    }
    closedir(directory);
    return 0;
}

static int disk_mkdir(const char *path, mode_t mode) {
    wait_for(MKDIR);
    return answer_made(mkdirat(root, below_root(path), mode));
}

static int disk_symlink(const char *target, const char *path) {
    wait_for(LINK);
    return answer_made(symlinkat(target, root, below_root(path)));
}

static int disk_link(const char *path, const char *name) {
    wait_for(LINK);
    return answer_made(linkat(root, below_root(path), root, below_root(name), 0));
}

static int disk_unlink(const char *path) {
    wait_for(UNLINK);
    return answer(unlinkat(root, below_root(path), 0));
}

static int disk_rmdir(const char *path) {
    wait_for(RMDIR);
    return answer(unlinkat(root, below_root(path), AT_REMOVEDIR));
}

static int disk_rename(const char *path, const char *name, unsigned flags) {
    wait_for(RENAME);
    return answer(renameat2(root, below_root(path), root, below_root(name), flags));
}

static int disk_chmod(const char *path, mode_t mode, struct fuse_file_info *file) {
    (void)file;
    wait_for(OTHER);
    return answer(fchmodat(root, below_root(path), mode, 0));
}

static int disk_chown(const char *path, uid_t user, gid_t group, struct fuse_file_info *file) {
    (void)file;
    wait_for(OTHER);
    return answer(fchownat(root, below_root(path), user, group, AT_SYMLINK_NOFOLLOW));
}

static int disk_utimens(const char *path, const struct timespec times[2],
                        struct fuse_file_info *file) {
    (void)file;
    wait_for(OTHER);
    return answer(utimensat(root, below_root(path), times, AT_SYMLINK_NOFOLLOW));
}

static int keep(struct fuse_file_info *file, int descriptor) {
    file->fh = (uint64_t)descriptor;
    return answer(descriptor);
}

static int disk_truncate(const char *path, off_t size, struct fuse_file_info *file) {
    wait_for(OTHER);
    if (file) return answer(ftruncate((int)file->fh, size));
    int descriptor = openat(root, below_root(path), O_WRONLY);
    if (descriptor < 0) return -errno;
    int result = answer(ftruncate(descriptor, size));
    close(descriptor);
    return result;
}

static int disk_open(const char *path, struct fuse_file_info *file) {
    wait_for(OPEN);
    return keep(file, openat(root, below_root(path), file->flags));
}

static int disk_create(const char *path, mode_t mode, struct fuse_file_info *file) {
    wait_for(CREATE);
    int result = keep(file, openat(root, below_root(path), file->flags, mode));
    return answer_made(result);
}

static int disk_read(const char *path, char *bytes, size_t size, off_t offset,
                     struct fuse_file_info *file) {
    (void)path;
    wait_for(READ);
    ssize_t length = pread((int)file->fh, bytes, size, offset);
    return length < 0 ? -errno : (int)length;
}

static int disk_write(const char *path, const char *bytes, size_t size, off_t offset,
                      struct fuse_file_info *file) {
    (void)path;
    count(WRITE);
    ssize_t length = pwrite((int)file->fh, bytes, size, offset);
    return length < 0 ? -errno : (int)length;
}

static int disk_flush(const char *path, struct fuse_file_info *file) {
    (void)path;
    if ((fcntl((int)file->fh, F_GETFL) & O_ACCMODE) != O_RDONLY) wait_for(FLUSH);
    return 0;
}

static int disk_release(const char *path, struct fuse_file_info *file) {
    (void)path;
    close((int)file->fh);
    return 0;
}

static int disk_fsync(const char *path, int only_data, struct fuse_file_info *file) {
    (void)path;
    wait_for(OTHER);
    return answer((only_data ? fdatasync : fsync)((int)file->fh));
}

static int disk_flock(const char *path, struct fuse_file_info *file, int operation) {
    (void)path;
    wait_for(LOCK);
    return answer(flock((int)file->fh, operation));
}

static int disk_statfs(const char *path, struct statvfs *status) {
    (void)path;
    wait_for(OTHER);
    return answer(fstatvfs(root, status));
}

static void print_counts(void) {
    for (int kind = 0; kind < KINDS; kind++)
        printf("%s\"%s\": %lu", kind ? ", " : "{", names[kind],
               __atomic_exchange_n(&counts[kind], 0, __ATOMIC_RELAXED));
    printf("}\n");
    fflush(stdout);
}

static void *obey_stdin(void *argument) {
    for (int byte; (byte = getchar()) != EOF;)
        if (byte == '\n') print_counts();
    kill(getpid(), SIGTERM); /* libfuse then unmounts and returns */
    return argument;
}

static void *disk_init(struct fuse_conn_info *connection, struct fuse_config *config) {
    (void)connection;
    config->use_ino = 1;
    config->entry_timeout = config->attr_timeout = 1.0; /* seconds */
    config->negative_timeout = 0;
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* libfuse's own thread takes signals */
    pthread_create(&thread, NULL, obey_stdin, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return NULL;
}

static const struct fuse_operations operations = {
    .init = disk_init,         .getattr = disk_getattr, .readlink = disk_readlink,
    .readdir = disk_readdir,   .mkdir = disk_mkdir,     .symlink = disk_symlink,
    .link = disk_link,         .unlink = disk_unlink,   .rmdir = disk_rmdir,
    .rename = disk_rename,     .chmod = disk_chmod,     .chown = disk_chown,
    .utimens = disk_utimens,   .truncate = disk_truncate, .open = disk_open,
    .create = disk_create,     .read = disk_read,       .write = disk_write,
    .flush = disk_flush,       .release = disk_release, .fsync = disk_fsync,
    .flock = disk_flock,       .statfs = disk_statfs,
};

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments != 4 || (root = open(arguments[1], O_PATH | O_DIRECTORY)) < 0) {
        fprintf(stderr, "usage: slowdisk DIRECTORY MICROSECONDS MOUNT_POINT\n");
        return 2;
    }
    microseconds = atol(arguments[2]);
    umask(0); /* the kernel has applied that of the process */
    char *words[] = {arguments[0], "-f", arguments[3], "-o", "max_threads=100", NULL};
    /* From 3.12 on, libfuse serves 10 requests at a time unless it is told otherwise; the versions
       before know neither this limit nor the option. */
    int count = fuse_version() < 312 ? 3 : 5;
    return fuse_main(count, words, &operations, NULL);
}
