"""The data identifiers of DL/T 645 as text tables: one line a row, as people write them.

A line is `identifier access sources kind layout OBIS name`, blanks between.

* identifier: its bytes, highest first, joined by dots. A byte is `04`, a range `01-0A`, or the
  alternatives `15/29/3D` (phases A, B, C). Behind a range or alternatives, FF in that place means
  the block of all of them: `+` exactly all, `*` as many as the reply holds (a meter sends as many
  tariffs as it has), `~` all, and what follows stays raw.
* access: R, W or RW. A meter may be stricter.
* sources: in how many independent public sources the identifier is known; `c` behind it: a
  captured reply was decoded with this layout; 0: it follows from the pattern, nobody says it.
* kind: c cumulative, x maximum, i instantaneous, - not a number.
* layout: items joined by commas, each `label=format:unit` (label and unit may be left out).
  Formats: `NN.NN` packed BCD, `s` in front when the top bit of the highest byte is the sign;
  `DIGITS6`, `BITS2`, `ASCII32`, `HEX8`, `SECRET4` with their bytes; `DI` an identifier; YY MM DD hh
  mm ss WW in reading order for times (WW the weekday, NN a number that belongs to the time).
  `(a,b)x3` repeats; `*` at the end repeats as long as the reply holds; `@name` stands for a layout
  of `LAYOUTS`; `?` is a layout that no source tells.
* OBIS: of the first item, or `-`. `{T1}` is the rank of byte DI1 in its range (a tariff), `{F0}`
  that of DI0 as settlement, 255 for now, `{p1+12}` 12 + 20 for each phase of DI1. Items without a
  code get one of the manufacturer's range, see `identifiers.own_code`.
* name: `{t1}` a tariff, `{f0}` a settlement, `{p1}` a phase in words, each nothing for 0; `{n0-1}`
  the byte as a number, less one, `{w2one/two}` a word for each value of DI2.

The rows follow public meter sources, not the standard's text, which was not at hand.
"""
