//! The compiled kernels, and which of them a card takes.

include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// A file of kernels, as the driver loads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Machine code.
    Cubin(&'static [u8]),
    /// Text that the driver compiles when it is loaded.
    Ptx(&'static str),
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The card is older than the oldest that kernels are written for.
    #[error(
        "the card has compute capability {}.{}, kernels need 8.0 (Ampere, 2020) or later: use --device cpu",
        capability / 10,
        capability % 10
    )]
    Old {
        /// Major · 10 + minor.
        capability: u32,
    },
    /// There is no such file.
    #[error("there are no kernels named {stem}")]
    Unknown {
        /// The file's name without its ending.
        stem: String,
    },
}

/// All files of kernels.
pub fn stems() -> impl Iterator<Item = &'static str> {
    PTX.iter().map(|(stem, _)| *stem)
}

/// Cards that are part of a system on a chip: they run no machine code of cards that stand alone.
const INTEGRATED: [u32; 2] = [87, 101];

/// The file `kernels/{stem}.cu` for a card of this compute capability (major · 10 + minor): machine code of the same major and the
/// nearest minor, which runs on every later minor, or else PTX.
///
/// # Errors
/// If the card is too old or there is no such file.
pub fn image(stem: &str, capability: u32) -> Result<Image, ImageError> {
    if capability < 80 {
        return Err(ImageError::Old { capability });
    }
    let fits = |&&(name, of, _): &&(&str, u32, &[u8])| {
        name == stem
            && of / 10 == capability / 10
            && of <= capability
            && !INTEGRATED.contains(&capability)
    };
    let cubin = CUBINS.iter().filter(fits).max_by_key(|(_, of, _)| *of);
    if let Some((_, _, cubin)) = cubin {
        return Ok(Image::Cubin(cubin));
    }
    let ptx = PTX.iter().find(|(name, _)| *name == stem);
    ptx.map(|(_, ptx)| Image::Ptx(ptx))
        .ok_or_else(|| ImageError::Unknown {
            stem: stem.to_owned(),
        })
}
