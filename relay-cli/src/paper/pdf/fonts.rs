//! Letters: DejaVu Sans in this program (Latin, Greek, Cyrillic, Arabic, Hebrew, Armenian,
//! Georgian; free to embed and pass on by the licence that the files name), and of the fonts of
//! this computer those that have what it lacks.
//!
//! Enter through [`load`]. Nothing is fetched; a folder that is not there is no error. Invariant:
//! the same folders give the same choice.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parley::{
    FontContext, FontStyle, FontWeight,
    fontique::{Blob, Collection, CollectionOptions, FontInfo, FontInfoOverride, SourceCache},
};

/// Fonts by the name of their family, in the order in which they are asked.
pub(super) struct Fonts {
    pub(super) context: FontContext,
    pub(super) families: Vec<String>,
}

/// The own fonts, and for the letters of `text` that they lack others out of these folders.
pub(super) fn load(text: &str, folders: &[&Path]) -> Fonts {
    let options = CollectionOptions { shared: false, system_fonts: false };
    let mut collection = Collection::new(options);
    let mut missing: BTreeSet<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    for bytes in [dejavu::sans::regular(), dejavu::sans::bold()] {
        let data = Blob::new(Arc::new(bytes));
        let own = FontInfoOverride { family_name: Some(OWN), ..Default::default() };
        for (_, faces) in collection.register_fonts(data, Some(own)) {
            for face in &faces {
                missing.retain(|letter| !has(face, bytes, *letter));
            }
        }
    }
    let mut families = vec![OWN.to_owned()];
    let mut found = match missing.is_empty() {
        true => Vec::new(),
        false => files(folders).into_iter().filter_map(|path| look_into(path, &missing)).collect(),
    };
    while let Some(best) = best(&mut found, &missing) {
        missing.retain(|letter| !best.letters.contains(letter));
        // It was there a moment ago; if it is gone its letters are told as missing.
        let Ok(bytes) = fs::read(&best.path) else { continue };
        let name = format!("fallback {}", families.len());
        let other = FontInfoOverride { family_name: Some(&name), ..Default::default() };
        collection.register_fonts(Blob::new(Arc::new(bytes)), Some(other));
        families.push(name);
    }
    let source_cache = SourceCache::default();
    Fonts { context: FontContext { collection, source_cache }, families }
}

/// A file with the letters of ours that it has.
struct Found {
    path: PathBuf,
    letters: BTreeSet<char>,
    upright: bool,
}

/// Takes out the file that has most of these letters; upright and regular before others, then by
/// name. None when no file has any.
fn best(found: &mut Vec<Found>, missing: &BTreeSet<char>) -> Option<Found> {
    found.iter_mut().for_each(|one| one.letters.retain(|letter| missing.contains(letter)));
    found.retain(|one| !one.letters.is_empty());
    let worth = |one: &Found| (one.letters.len(), one.upright, Reverse(one.path.clone()));
    let (position, _) = found.iter().enumerate().max_by_key(|(_, one)| worth(one))?;
    Some(found.swap_remove(position))
}

/// What a file has of these letters; none of what is no font, or too large for one.
fn look_into(path: PathBuf, missing: &BTreeSet<char>) -> Option<Found> {
    if fs::metadata(&path).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let bytes = fs::read(&path).ok()?;
    let options = CollectionOptions { shared: false, system_fonts: false };
    let bytes = Arc::new(bytes);
    let data = Blob::new(bytes.clone());
    let mut letters = BTreeSet::new();
    let mut upright = false;
    for (_, faces) in Collection::new(options).register_fonts(data, None) {
        // The faces of one file differ in looks, not in letters.
        let Some(face) = faces.first() else { continue };
        upright |= faces
            .iter()
            .any(|face| face.style() == FontStyle::Normal && face.weight() == FontWeight::NORMAL);
        letters.extend(missing.iter().filter(|letter| has(face, &bytes, **letter)));
    }
    (!letters.is_empty()).then_some(Found { path, letters, upright })
}

fn has(face: &FontInfo, bytes: &[u8], letter: char) -> bool {
    let index = face.charmap_index();
    index.charmap(bytes).and_then(|map| map.map(letter)).is_some_and(|glyph| glyph != 0)
}

/// All files with the name of a font, in the order of their paths.
fn files(folders: &[&Path]) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<(PathBuf, u32)> =
        folders.iter().map(|folder| (folder.to_path_buf(), 0)).collect();
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let end = path.extension().unwrap_or_default().to_ascii_lowercase();
            if path.is_dir() && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if ENDS.iter().any(|known| end == *known) {
                found.insert(path);
            }
        }
    }
    found.into_iter().collect()
}

/// Where Linux systems keep fonts that every program may use.
pub const FOLDERS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];

const OWN: &str = "own";
const ENDS: [&str; 4] = ["ttf", "otf", "ttc", "otc"];
/// A font of all Chinese, Japanese and Korean letters has some 20 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Folders that link to each other end here.
const DEPTH_MAX: u32 = 5;
