//! Random numbers that are the same every time: SplitMix64 (Steele, Lea, Flood 2014).

/// A source of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Dice(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// The numbers of sequence `number` under a seed: any one can be made without the others.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed);
        let start = dice.next();
        let mut dice = Self(start ^ number.wrapping_mul(GOLDEN));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        let wide = u128::from(self.next()) * u128::from(limit);
        u32::try_from(wide >> 64).unwrap_or(0)
    }

    /// A small number below `limit`, which is not 0.
    pub fn small(&mut self, limit: u8) -> u8 {
        u8::try_from(self.below(u32::from(limit))).unwrap_or(0)
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Yes in one of `times` cases.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u32::try_from(of.len()).expect("a list of choices is short");
        of[self.below(count) as usize]
    }
}
