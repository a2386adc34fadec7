//! No chain of calls takes more stack than the oldest supported kernel grants.
//!
//! Linux 6.1 rounds the stack of each function up to 32 bytes and adds up whole chains of calls,
//! callbacks of loops too (`check_max_stack_depth`). Newer kernels round to 16, so a chain that 6.1
//! refuses loads here. Therefore it is added up from the object itself, as 6.1 does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex,
    SectionKind, SymbolKind,
};
use vnet_ctl::bpf::OBJECT;

/// Bytes for a program and all it calls (`MAX_BPF_STACK`).
const LIMIT: u32 = 512;
/// Functions that may be under way at once (`MAX_CALL_FRAMES`).
const FRAMES: usize = 8;
/// What a function's stack is rounded up to.
const ROUND: u32 = 32;
/// The register that a function's stack is reached by.
const FRAME: usize = 10;
/// `bpf_timer_set_callback`: what it is handed runs later, on a stack of its own.
const TIMER_SET_CALLBACK: i32 = 170;

/// Where a function begins: its section, and the byte in it.
type Place = (usize, u64);

#[derive(Debug, Default)]
struct Function {
    name: String,
    /// Bytes of its own.
    stack: u32,
    /// What runs on top of it: functions it calls, and callbacks.
    calls: BTreeSet<Place>,
    /// Callbacks of timers.
    later: BTreeSet<Place>,
}

/// An instruction.
struct Insn {
    opcode: u8,
    dst: usize,
    src: usize,
    off: i16,
    imm: i32,
}

impl Insn {
    fn read(bytes: &[u8; 8]) -> Self {
        let [opcode, registers, off @ .., i0, i1, i2, i3] = *bytes;
        Self {
            opcode,
            dst: usize::from(registers & 0xf),
            src: usize::from(registers >> 4),
            off: i16::from_le_bytes(off),
            imm: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }
}

/// What of a function's stack is named, read from its first instruction to its last.
#[derive(Default)]
struct Depth {
    bytes: u32,
    /// Registers that hold the frame's address.
    copies: BTreeSet<usize>,
}

impl Depth {
    fn down_to(&mut self, offset: i32) {
        self.bytes = self.bytes.max(u32::try_from(-offset).unwrap_or(0));
    }

    fn see(&mut self, insn: &Insn) {
        let Insn { opcode, dst, src, off, imm } = *insn;
        let mut on_frame = |register| {
            if register == FRAME || self.copies.contains(&register) {
                self.down_to(off.into());
            }
        };
        match opcode & 0x07 {
            0x01 => on_frame(src),
            0x02 | 0x03 => return on_frame(dst),
            0x05 | 0x06 => return,
            _ => {}
        }
        let was_copy = self.copies.remove(&dst);
        match opcode {
            0xbf if src == FRAME => drop(self.copies.insert(dst)),
            0x07 if was_copy => self.down_to(imm),
            _ => {}
        }
    }
}

/// Every function of the object.
fn functions(file: &File<'_>) -> BTreeMap<Place, Function> {
    let symbols = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let read = symbols.map(|symbol| {
        let section = symbol.section_index().expect("a function is in a section").0;
        let name = symbol.name().expect("a function has a name");
        let place = (section, symbol.address());
        (place, Function { name: name.to_owned(), ..function(file, place, symbol.size()) })
    });
    read.collect()
}

fn function(file: &File<'_>, (index, start): Place, size: u64) -> Function {
    let section = file.section_by_index(SectionIndex(index)).expect("the section is there");
    let code = section.data_range(start, size).expect("code is read").expect("and is there");
    let mut function = Function::default();
    let mut depth = Depth::default();
    let mut handed = BTreeSet::new();
    let mut at = start;
    let relocations: BTreeMap<_, _> = section
        .relocations()
        .filter(|(offset, _)| (start..start + size).contains(offset))
        .map(|(offset, relocation)| (offset, aim(file, relocation.target())))
        .collect();
    let mut insns = code.as_chunks().0.iter().map(Insn::read);
    while let Some(insn) = insns.next() {
        let aim = relocations.get(&at).copied().flatten();
        depth.see(&insn);
        match (insn.opcode, insn.src) {
            // Relative to the next instruction, or to what the symbol says.
            (0x85, 1) => {
                let (section, from) = aim.unwrap_or((index, at));
                function.calls.insert((section, moved(from, (insn.imm + 1) * 8)));
            }
            (0x85, _) if insn.imm == TIMER_SET_CALLBACK => function.later.append(&mut handed),
            (0x85, _) => function.calls.append(&mut handed),
            (0x18, _) => {
                insns.next();
                at += 8;
                handed.extend(aim.map(|(section, from)| (section, moved(from, insn.imm))));
            }
            _ => {}
        }
        at += 8;
    }
    function.calls.append(&mut handed);
    Function { stack: depth.bytes, ..function }
}

/// Where a relocation leads, if it is code.
fn aim(file: &File<'_>, target: RelocationTarget) -> Option<Place> {
    let RelocationTarget::Symbol(symbol) = target else { return None };
    let symbol = file.symbol_by_index(symbol).expect("the symbol is there");
    let section = file.section_by_index(symbol.section_index()?).expect("the section is there");
    (section.kind() == SectionKind::Text).then_some((section.index().0, symbol.address()))
}

fn moved(from: u64, by: i32) -> u64 {
    from.checked_add_signed(by.into()).expect("a call stays in its section")
}

/// The deepest of the chains that begin with the one given.
fn deepest(functions: &BTreeMap<Place, Function>, chain: &[Place]) -> Vec<Place> {
    let last = &functions[chain.last().expect("a chain has a beginning")];
    let mut best = chain.to_vec();
    if chain.len() > FRAMES {
        return best;
    }
    for next in &last.calls {
        let longer = deepest(functions, &[chain, &[*next]].concat());
        if bytes(functions, &longer) > bytes(functions, &best) || longer.len() > FRAMES {
            best = longer;
        }
    }
    best
}

fn bytes(functions: &BTreeMap<Place, Function>, chain: &[Place]) -> u32 {
    chain.iter().map(|place| functions[place].stack.max(1).next_multiple_of(ROUND)).sum()
}

/// What takes more stack than there is, or calls too deep: a line for each chain. `tell` gets a line
/// for every program.
fn refused(
    functions: &BTreeMap<Place, Function>,
    programs: &[Place],
    tell: fn(&str),
) -> Vec<String> {
    let timers = functions.values().flat_map(|function| &function.later);
    let chains = programs.iter().chain(timers).map(|root| deepest(functions, &[*root]));
    let mut lines = Vec::new();
    for chain in chains {
        let total = bytes(functions, &chain);
        let mut line = format!("STACK {} {total} of {LIMIT}:", functions[&chain[0]].name);
        for place in &chain {
            let Function { name, stack, .. } = &functions[place];
            let _ = write!(line, " {name} {stack}");
        }
        tell(&line);
        if total > LIMIT || chain.len() > FRAMES {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn the_oldest_kernel_has_stack_for_every_chain_of_calls() {
    let file = File::parse(OBJECT).expect("the object is ELF");
    let functions = functions(&file);
    let text = file.section_by_name(".text").expect("there are functions").index().0;
    let programs: Vec<_> = functions.keys().copied().filter(|(at, _)| *at != text).collect();
    // Written to the stream itself: what the print macros write is hidden when a test passes.
    let tell = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
    let refused = refused(&functions, &programs, tell);
    assert!(refused.is_empty(), "Linux 6.1 refuses, bytes after each name: {refused:#?}");
}

#[test]
fn a_chain_that_is_too_deep_is_told() {
    let place = |at| (1, at);
    let function = |name: &str, stack, calls: &[u64]| Function {
        name: name.to_owned(),
        stack,
        calls: calls.iter().map(|at| place(*at)).collect(),
        later: BTreeSet::new(),
    };
    let told = |last| {
        let functions = [
            (place(0), function("first", 0, &[1, 2])),
            (place(1), function("leaf", 440, &[])),
            (place(2), function("middle", 200, &[3])),
            (place(3), function("last", last, &[])),
        ];
        refused(&functions.into(), &[place(0)], |_| {})
    };
    // 32 + 224 + 256, and eight bytes that cost 32.
    assert_eq!(told(256), [""; 0]);
    assert_eq!(told(264), ["STACK first 544 of 512: first 0 middle 200 last 264"]);
    let endless = [(place(0), function("again", 8, &[0]))];
    assert_eq!(refused(&endless.into(), &[place(0)], |_| {}).len(), 1, "nine calls deep");
}
