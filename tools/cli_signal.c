/* cli_signal.c - the first SIGINT or SIGTERM lets the current picture or step finish; the second
 * ends the process at once (files stay whole: they are written beside and renamed). */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "tools/cli.h"

static volatile sig_atomic_t stop_signal, usr1_count;

static void on_stop(int sig)
{
    if (stop_signal)
        _exit(CLI_SIGNALLED + sig);
    stop_signal = sig;
}

static void on_usr1(int sig)
{
    (void)sig;
    usr1_count = 1;
}

void cli_signals(void)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    sigemptyset(&a.sa_mask);
    a.sa_flags = SA_RESTART;
    a.sa_handler = on_stop;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    a.sa_handler = on_usr1;
    sigaction(SIGUSR1, &a, NULL);
}

int cli_stop(void)
{
    return stop_signal;
}

bool cli_checkpoint_asked(void)
{
    bool asked = usr1_count != 0;
    usr1_count = 0;
    return asked;
}
