//! What the kernel says about a map: the names, places and sizes of its records' fields.
//!
//! A map that was made with type information (BTF) can be read by anybody (`bpftool map dump`
//! prints its fields by name). This reads the same information back from the kernel, so that a
//! test can hold it against the Rust records. (linux/btf.h, Documentation/bpf/btf.rst)

use std::io;
use std::mem::{offset_of, size_of, size_of_val};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya::maps::MapData;

/// bpf(2): a descriptor for type information, by its id; and what is known about a descriptor.
const BTF_GET_FD_BY_ID: libc::c_long = 19;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// A field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes it takes.
    pub size: usize,
    /// Its own fields, when it is a structure.
    pub fields: Vec<Field>,
}

/// A record: the type of a map's keys or values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The type's name; empty for a plain integer's array.
    pub name: String,
    /// Bytes of it.
    pub size: usize,
    /// Its fields in order; none when it is no structure.
    pub fields: Vec<Field>,
}

/// The type information of a map: its keys, and its values.
///
/// A map whose keys need no description (a queue has none) has no first record.
pub fn records(map: &MapData) -> io::Result<(Option<Record>, Option<Record>)> {
    let info: MapInfo = info(map.fd().as_fd())?;
    if info.btf_id == 0 {
        return Ok((None, None));
    }
    let types = Types::of(info.btf_id)?;
    let record = |id: u32| (id != 0).then(|| types.record(id)).flatten();
    Ok((record(info.btf_key_type_id), record(info.btf_value_type_id)))
}

/// A record of the same object by its name, for maps that the kernel takes no type information for.
pub fn named(map: &MapData, name: &str) -> io::Result<Option<Record>> {
    let info: MapInfo = info(map.fd().as_fd())?;
    let types = Types::of(info.btf_id)?;
    let is_it = |id: &u32| {
        let found = types.types.get(*id as usize);
        found.is_some_and(|found| found.kind == STRUCT && types.text(found.name) == name)
    };
    let ids = 1..types.types.len() as u32;
    Ok(ids.into_iter().find(is_it).and_then(|id| types.record(id)))
}

/// The beginning of `struct bpf_map_info` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    btf_vmlinux_value_type_id: u32,
    netns_dev: u64,
    netns_ino: u64,
    btf_id: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_id: u32,
}

const _: () = assert!(offset_of!(MapInfo, btf_id) == 64);

/// The beginning of `struct bpf_btf_info` (linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct BtfInfo {
    btf: u64,
    size: u32,
    id: u32,
}

/// What bpf(2) takes to tell about a descriptor.
#[repr(C)]
struct InfoRequest {
    fd: u32,
    length: u32,
    info: u64,
}

fn info<T: Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = T::default();
    fill(fd, &mut info)?;
    Ok(info)
}

fn fill<T>(fd: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let request = InfoRequest {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: size_of::<T>() as u32,
        info: std::ptr::from_mut(info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &request).map(drop)
}

fn bpf<T>(command: libc::c_long, request: &T) -> io::Result<libc::c_long> {
    // SAFETY: the request is as long as said; what it points to is borrowed mutably by the one
    // caller that has a pointer in it, with its true length.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(request), size_of_val(request))
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// All types of one object.
struct Types {
    strings: Vec<u8>,
    /// By id; the first is void.
    types: Vec<Type>,
}

/// One entry of the type section.
#[derive(Clone, Default)]
struct Type {
    name: u32,
    kind: u32,
    bit_fields: bool,
    size_or_type: u32,
    /// The words that follow the entry.
    more: Vec<u32>,
}

impl Types {
    fn of(id: u32) -> io::Result<Self> {
        let fd = bpf(BTF_GET_FD_BY_ID, &id)?;
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel gave this descriptor a moment ago, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let size = info::<BtfInfo>(fd.as_fd())?.size;
        let mut bytes = vec![0u8; size as usize];
        fill(fd.as_fd(), &mut BtfInfo { btf: bytes.as_mut_ptr() as u64, size, id: 0 })?;
        Self::parse(&bytes).ok_or_else(|| io::Error::other("the kernel's BTF makes no sense"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let [header, type_at, type_len, text_at, text_len] =
            [word(4)?, word(8)?, word(12)?, word(16)?, word(20)?].map(|word| word as usize);
        let mut types = vec![Type::default()];
        let mut at = header + type_at;
        let end = at + type_len;
        while at < end {
            let (name, about, size_or_type) = (word(at)?, word(at + 4)?, word(at + 8)?);
            let kind = about >> 24 & 0x1f;
            let words = following(kind, (about & 0xffff) as usize);
            let more = (0..words).map(|n| word(at + 12 + n * 4)).collect::<Option<_>>()?;
            types.push(Type { name, kind, bit_fields: about >> 31 != 0, size_or_type, more });
            at += 12 + words * 4;
        }
        let text = header + text_at;
        Some(Self { strings: bytes.get(text..text + text_len)?.to_vec(), types })
    }

    fn text(&self, at: u32) -> String {
        let text = self.strings.get(at as usize..).unwrap_or_default();
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The type itself, whatever other names and qualifiers it goes by.
    fn plain(&self, mut id: u32) -> Option<&Type> {
        loop {
            let found = self.types.get(id as usize)?;
            // typedef, volatile, const, restrict, type tag
            if !matches!(found.kind, 8..=11 | 18) {
                return Some(found);
            }
            id = found.size_or_type;
        }
    }

    fn size(&self, id: u32) -> Option<usize> {
        let found = self.plain(id)?;
        match (found.kind, found.more.as_slice()) {
            (ARRAY, &[element, _, count]) => Some(self.size(element)? * count as usize),
            // integers, structures, unions, enumerations, floats
            (INT | STRUCT | UNION | 6 | 16 | 19, _) => Some(found.size_or_type as usize),
            _ => None,
        }
    }

    fn record(&self, id: u32) -> Option<Record> {
        let (name, size) = (self.text(self.plain(id)?.name), self.size(id)?);
        Some(Record { name, size, fields: self.fields(id)? })
    }

    fn fields(&self, id: u32) -> Option<Vec<Field>> {
        let found = self.plain(id)?;
        let is_record = matches!(found.kind, STRUCT | UNION);
        let members = if is_record { found.more.as_slice() } else { &[] };
        let fields = members.chunks_exact(3).map(|member| {
            let bits = if found.bit_fields { member[2] & 0xff_ffff } else { member[2] };
            let (name, offset) = (self.text(member[0]), bits as usize / 8);
            let (size, fields) = (self.size(member[1])?, self.fields(member[1])?);
            Some(Field { name, offset, size, fields })
        });
        fields.collect()
    }
}

/// How many words follow an entry of this kind (linux/btf.h).
fn following(kind: u32, count: usize) -> usize {
    match kind {
        // integer, variable, declaration tag
        INT | 14 | 17 => 1,
        ARRAY => 3,
        // structure, union, section, 64-bit enumeration
        STRUCT | UNION | 15 | 19 => count * 3,
        // enumeration, function prototype
        6 | 13 => count * 2,
        _ => 0,
    }
}
