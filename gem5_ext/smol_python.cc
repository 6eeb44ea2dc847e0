/** What configuration scripts can ask before anything is instantiated: `import _m5; _m5.smol.isa_fingerprint`. */
#include "gem5_ext/smol_decode.hh"
#include "sim/init.hh"

namespace
{

constexpr const char *decodeFingerprint = SMOL_ISA_FINGERPRINT;

} // anonymous namespace

// The arithmetic has its copy of the table from another generated header: both must be of one table.
#undef SMOL_ISA_FINGERPRINT
#include "smol_isa.h"

namespace gem5
{

namespace
{

constexpr bool
equal(const char *a, const char *b)
{
    return *a == *b && (*a == '\0' || equal(a + 1, b + 1));
}

static_assert(equal(decodeFingerprint, SMOL_ISA_FINGERPRINT),
              "smol_decode.hh and smol_isa.h are of different instruction tables: run python -m sysmol.emit");

void
initSmol(pybind11::module_ &m5_native)
{
    auto smol = m5_native.def_submodule("smol", "The SMOL instructions");
    smol.attr("isa_fingerprint") = decodeFingerprint;
}

EmbeddedPyBind embedSmol("smol", initSmol);

} // anonymous namespace

} // namespace gem5
