/* Makes each call that a container has no business with; prints its name and what the kernel says. The arguments are such
   that a call which is let through does nothing, and it runs only where its image's marker is. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALL(name, ...) report(#name, syscall(SYS_##name, ##__VA_ARGS__))

static void report(const char *name, long result)
{
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "done");
    fflush(stdout);
}

int main(void)
{
    char none[256] = {0};
    if (access("/inside-of-a-container", F_OK) != 0)
        return 1;
    CALL(bpf, 0, none, sizeof none);
    CALL(keyctl, 0, -3, 0, 0, 0);
    CALL(add_key, "user", "estiva", none, 1, -1);
    CALL(request_key, "user", "estiva", 0, 0);
    CALL(mount, "none", "/nothing", "tmpfs", 0, 0);
    CALL(umount2, "/nothing", 0);
    CALL(pivot_root, "/nothing", "/nothing");
    CALL(move_mount, -1, "/nothing", -1, "/nothing", 0);
    CALL(open_tree, -100, "/nothing", 1);
    CALL(fsopen, "tmpfs", 0);
    CALL(mount_setattr, -100, "/nothing", 0, none, 32);
    CALL(unshare, CLONE_NEWUSER);
    CALL(unshare, CLONE_NEWNS);
    CALL(setns, -1, 0);
    CALL(init_module, none, 0, "");
    CALL(delete_module, "estiva_has_no_such_module", 0);
    CALL(kexec_load, 0, 17, 0, 0);
    CALL(reboot, 0, 0, 0, 0);
    CALL(swapon, "/nothing", 0);
    CALL(swapoff, "/nothing");
    CALL(acct, "/nothing/here");
    CALL(settimeofday, 0, 0);
    CALL(syslog, 10, 0, 0);
    CALL(perf_event_open, none, 0, -1, -1, 0);
    CALL(userfaultfd, 0);
    CALL(io_uring_setup, 1, none);
    CALL(open_by_handle_at, -100, none, 0);
    CALL(quotactl, 0, 0, 0, 0);
    CALL(fanotify_init, 0, 0);
    CALL(pidfd_getfd, -1, 0, 0);
    return 0;
}
