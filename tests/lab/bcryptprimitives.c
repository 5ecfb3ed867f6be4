/* The one function of bcryptprimitives.dll that programs written in Rust ask for, and that wine 8 does not bring. Only for
   the laboratory: Windows has its own.
   https://learn.microsoft.com/windows/win32/seccng/processprng */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom, of advapi32 */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) { return SystemFunction036(data, (ULONG)size); }
