/*
 * The init is position-independent and no dynamic linker starts it: it puts the addresses in its tables itself. Until
 * that is done none of them may be read. See elf(5).
 */
#include <elf.h>
#include "init.h"

#if defined(__x86_64__)
#define RELATIVE R_X86_64_RELATIVE
#else
#define RELATIVE R_AARCH64_RELATIVE
#endif
#ifndef DT_RELR /* glibc before 2.36; -z pack-relative-relocs */
#define DT_RELRSZ 35
#define DT_RELR 36
#endif
#define PAGE_MASK (~0xfffUL) /* the linker aligns the end to the largest page there is; the start lies in a page of it */

extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));
extern const Elf64_Dyn _DYNAMIC[] __attribute__((visibility("hidden")));

static uintptr_t load_address(void)
{
	return (uintptr_t)&__ehdr_start;
}

/* A member of the dynamic section, or 0. */
static uint64_t dynamic(int64_t tag)
{
	for (const Elf64_Dyn *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
		if (entry->d_tag == tag)
			return entry->d_un.d_val;
	return 0;
}

/* An even entry is the address of a word; an odd one has a bit for each of the 63 words that follow. */
static void relocate_packed(uintptr_t base, const uint64_t *entry, size_t count)
{
	uint64_t *word = NULL;

	for (; count--; entry++) {
		if (!(*entry & 1)) {
			word = (uint64_t *)(base + *entry);
			*word++ += base;
			continue;
		}
		for (uint64_t i = 0, bits = *entry >> 1; bits; i++, bits >>= 1)
			if (bits & 1)
				word[i] += base;
		word += 63;
	}
}

void relocate(void)
{
	uintptr_t base = load_address();
	const Elf64_Rela *entry = (const Elf64_Rela *)(base + dynamic(DT_RELA));

	for (size_t count = dynamic(DT_RELASZ) / sizeof(*entry); count--; entry++) {
		if (ELF64_R_TYPE(entry->r_info) != RELATIVE)
			__builtin_trap(); /* the build has none */
		*(uint64_t *)(base + entry->r_offset) = base + (uint64_t)entry->r_addend;
	}
	relocate_packed(base, (const uint64_t *)(base + dynamic(DT_RELR)), dynamic(DT_RELRSZ) / sizeof(uint64_t));
}

int protect_relocated(void)
{
	uintptr_t base = load_address();
	const Elf64_Phdr *part = (const Elf64_Phdr *)(base + __ehdr_start.e_phoff);

	for (unsigned int left = __ehdr_start.e_phnum; left; left--, part++) {
		uintptr_t start = (base + part->p_vaddr) & PAGE_MASK, end = (base + part->p_vaddr + part->p_memsz) & PAGE_MASK;

		if (part->p_type == PT_GNU_RELRO && end > start)
			return sys(SYS_mprotect, start, end - start, 1 /* PROT_READ */);
	}
	return 0;
}
