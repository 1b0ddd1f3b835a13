/* A disk that forgets, preloaded into redis-server: after every sync of an append-only file, its size goes to the file
 * that SYNCED_SIZE names. What was written behind that, a loss of power may take away. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int synced(const char *call, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    const char *told = getenv("SYNCED_SIZE");
    char link[64], name[4096], size[32];
    struct stat before;
    if (told == NULL || fstat(fd, &before) != 0 || !S_ISREG(before.st_mode)) return real(fd);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 4 || strncmp(name + length - 4, ".aof", 4) != 0) return real(fd);
    int answer = real(fd);
    if (answer == 0) {
        int file = open(told, O_WRONLY | O_CREAT, 0600);
        int digits = snprintf(size, sizeof size, "%020lld", (long long)before.st_size);
        if (file >= 0 && pwrite(file, size, digits, 0) != digits) abort();
        if (file >= 0) close(file);
    }
    return answer;
}

int fsync(int fd) { return synced("fsync", fd); }

int fdatasync(int fd) { return synced("fdatasync", fd); }
