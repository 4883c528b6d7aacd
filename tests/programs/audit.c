/* Looks, from inside a container, into every process that it can see, again and again: what the host's is in their descriptors, roots,
   environments, arguments, memory and capabilities. It goes on until the file /audit/stop exists (or for five minutes).

   audit CANARY ALLOWED WORD…: CANARY is a file of the host's by its absolute path, ALLOWED the capabilities that a process may have (in
   hexadecimal), each WORD a text that no process may show; its letters come here reversed, so that this program does not show it. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 8
#define AHEAD 12
#define MAP_BYTES_MAX (8 << 20)

static const char *canary;
static unsigned long long allowed;
static char words[WORDS_MAX][256];
static int word_count;
static char buffer[MAP_BYTES_MAX];

static void found(const char *what, int pid, const char *more)
{
    printf("FOUND %s of process %d: %s\n", what, pid, more);
    fflush(stdout);
}

static const char *word_in(const char *bytes, size_t size)
{
    for (int i = 0; i < word_count; i++)
        if (memmem(bytes, size, words[i], strlen(words[i])))
            return words[i];
    return NULL;
}

/* From a directory upwards: whether the host's file is below one of those on the way. */
static int reaches_canary(int directory)
{
    char path[4096] = "";
    for (int depth = 0; depth < 24; depth++) {
        snprintf(path + strlen(path), sizeof path - strlen(path), "%s", depth ? "../" : "./");
        char whole[8192];
        snprintf(whole, sizeof whole, "%s%s", path, canary + 1);
        if (faccessat(directory, whole, F_OK, 0) == 0)
            return 1;
    }
    return 0;
}

/* A container of a shared PID namespace that was set up: it has the socket at which it waits for its start, and what the shim knows of
   the task, whose containers may look into each other anyway. */
static int waits_for_its_start(int pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int comm = open(path, O_RDONLY);
    if (comm >= 0 && read(comm, name, sizeof name - 1) < 0)
        name[0] = 0;
    if (comm >= 0)
        close(comm);
    return !strcmp(name, "youki:[2:INIT]\n");
}

static void look_at_descriptor(int pid, const char *name)
{
    char path[64], link[4096];
    struct stat status;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    ssize_t length = readlink(path, link, sizeof link - 1);
    if (length > 0) {
        link[length] = 0;
        if (word_in(link, length))
            found("the name of a descriptor", pid, link);
        if (!strncmp(link, "socket:", 7) && !waits_for_its_start(pid))
            found("a socket", pid, name);
    }
    int opened = open(path, O_PATH);
    if (opened < 0)
        return;
    if (fstat(opened, &status) == 0 && S_ISDIR(status.st_mode) && reaches_canary(opened))
        found("a way to the host", pid, name);
    close(opened);
}

static void look_at_file(int pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int file = open(path, O_RDONLY);
    if (file < 0)
        return;
    ssize_t size = read(file, buffer, sizeof buffer);
    close(file);
    const char *word = size > 0 ? word_in(buffer, size) : NULL;
    if (word)
        found(name, pid, word);
}

static void look_at_memory(int pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int memory = open(path, O_RDONLY);
    while (maps && memory >= 0 && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char mode[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' || to - from > MAP_BYTES_MAX)
            continue;
        ssize_t size = pread(memory, buffer, to - from, from);
        const char *word = size > 0 ? word_in(buffer, size) : NULL;
        if (word)
            found("memory", pid, word);
    }
    if (maps)
        fclose(maps);
    if (memory >= 0)
        close(memory);
}

static void look_at_capabilities(int pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status)) {
        unsigned long long set;
        if (sscanf(line, "Cap%*3s: %llx", &set) == 1 && set & ~allowed) {
            line[strcspn(line, "\n")] = 0;
            found("capabilities", pid, line);
        }
    }
    if (status)
        fclose(status);
}

static void look_at(int pid, int with_memory)
{
    char path[64];
    /* First what a process that has just come may have for a moment only. */
    for (int fd = 0; fd < 24; fd++) {
        char name[16];
        snprintf(name, sizeof name, "fd/%d", fd);
        look_at_descriptor(pid, name);
    }
    look_at_descriptor(pid, "cwd");
    snprintf(path, sizeof path, "/proc/%d/root", pid);
    int root = open(path, O_PATH | O_DIRECTORY);
    if (root >= 0 && reaches_canary(root))
        found("a way to the host", pid, "root");
    if (root >= 0)
        close(root);
    look_at_capabilities(pid);
    look_at_file(pid, "environ");
    look_at_file(pid, "cmdline");
    if (with_memory && !waits_for_its_start(pid))
        look_at_memory(pid);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    canary = argv[1];
    allowed = strtoull(argv[2], NULL, 16);
    for (int i = 3; i < argc && word_count < WORDS_MAX; i++, word_count++)
        for (size_t length = strlen(argv[i]), at = 0; at < length; at++)
            words[word_count][at] = argv[i][length - 1 - at];
    int own = getpid(), last = own, helpers = 0, rounds = 0;
    time_t end = time(NULL) + 300;
    printf("auditing\n");
    fflush(stdout);
    while (access("/audit/stop", F_OK) != 0 && time(NULL) < end) {
        DIR *processes = opendir("/proc");
        struct dirent *entry;
        while (processes && (entry = readdir(processes))) {
            int pid = atoi(entry->d_name);
            if (pid <= 0 || pid == own)
                continue;
            char path[64], name[32] = "";
            snprintf(path, sizeof path, "/proc/%d/comm", pid);
            int comm = open(path, O_RDONLY);
            if (comm >= 0 && read(comm, name, sizeof name - 1) > 0 && !strncmp(name, "estiva-", 7))
                helpers++;
            if (comm >= 0)
                close(comm);
            look_at(pid, 1);
            last = pid > last ? pid : last;
        }
        if (processes)
            closedir(processes);
        /* Those that come next, as early as can be. */
        for (int turn = 0; turn < 200; turn++)
            for (int pid = last + 1; pid <= last + AHEAD; pid++) {
                char path[64];
                snprintf(path, sizeof path, "/proc/%d", pid);
                if (access(path, F_OK) == 0) {
                    look_at(pid, turn % 4 == 0);
                    last = pid;
                }
            }
        rounds++;
    }
    printf("audited %d rounds, saw %d of Estiva's own\n", rounds, helpers);
    return 0;
}
