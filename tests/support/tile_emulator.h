#pragma once

#include <csignal>

namespace restkv {

// Stands in for the tile unit (AMX) of a processor that has none: while it lives, each of the
// unit's instructions that traps is carried out by plain loops, on the registers of the thread that
// it trapped in. So the very machine code that runs elsewhere can be tested here. Any other illegal
// instruction ends the process as usual. One at a time; Linux on x86-64 only.
class TileEmulator {
 public:
  TileEmulator();
  ~TileEmulator();
  TileEmulator(const TileEmulator&) = delete;
  TileEmulator& operator=(const TileEmulator&) = delete;

 private:
  struct sigaction before_ = {};
};

}  // namespace restkv
