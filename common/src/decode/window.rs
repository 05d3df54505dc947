//! What is seen of a text at once: 32 bytes, from its start on.

/// How many bytes a window shows.
pub(super) const WIDTH: usize = 32;

/// What is seen from some byte on.
pub(super) type Window = [u8; WIDTH];

/// All of a window as numbers, of whose bytes the first is lowest.
#[inline(always)]
pub(super) fn words(window: &Window) -> [u64; 4] {
    let (words, _) = window.as_chunks();
    [words[0], words[1], words[2], words[3]].map(u64::from_le_bytes)
}

/// A window of zeros but for its first `count` bytes, of which all bits are set; at most [`WIDTH`] of them.
#[inline(always)]
pub(super) fn mask(count: usize) -> &'static Window {
    const MASKS: [u8; 2 * WIDTH] = {
        let mut masks = [0; 2 * WIDTH];
        let mut at = 0;
        while at < WIDTH {
            masks[at] = 0xFF;
            at += 1;
        }
        masks
    };
    MASKS[WIDTH - count.min(WIDTH)..].first_chunk().expect("there are as many bytes again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_as_long_as_is_asked() {
        for count in 0..40 {
            let expected: Vec<u8> = (0..WIDTH).map(|at| if at < count { 0xFF } else { 0 }).collect();
            assert_eq!(mask(count).as_slice(), &expected);
        }
        let window: Window = std::array::from_fn(|at| at as u8);
        assert_eq!(words(&window).map(u64::to_le_bytes).concat(), window);
    }
}
