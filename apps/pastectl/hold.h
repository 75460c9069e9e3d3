/* SPDX-License-Identifier: BSD-2-Clause */
/* A port that exists without an application, with its interfaces attached. */
#ifndef PASTECTL_HOLD_H
#define PASTECTL_HOLD_H

/*
 * "hold PORT ...": @argv[0] is "hold".  Returns when SIGINT or SIGTERM comes (0), 1 after a
 * sentence on stderr, or 2 when the words make no sense: @why says in which way.
 */
int hold_command(int argc, char **argv, const char **why);

#endif /* PASTECTL_HOLD_H */
