/* SPDX-License-Identifier: BSD-2-Clause */
/* Regions: files or devices of packet memory that survive. */
#ifndef PASTECTL_REGION_H
#define PASTECTL_REGION_H

/*
 * "region create|show|check PATH ...": @argv[0] is the word after "region".  Returns 0,
 * 1 after a sentence on stderr, or 2 when the words make no sense: @why says in which way.
 */
int region_command(int argc, char **argv, const char **why);

#endif /* PASTECTL_REGION_H */
