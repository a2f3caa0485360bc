//! The text of a PDF of ours, as a search in it finds it: glyphs by their fonts' own tables.
//!
//! Reads what our writer makes, no more: streams behind their objects, texts as arrays of strings.

use std::{collections::HashMap, io::Read as _};

/// Texts in the order of the pages, one a line.
pub fn text_of(pdf: &[u8]) -> String {
    // One char a byte, so that it can be searched as text and given back as bytes.
    let file: String = pdf.iter().map(|byte| char::from(*byte)).collect();
    let objects: Vec<(&str, &str)> =
        file.split("endobj").filter_map(|part| part.split_once(" 0 obj")).collect();
    let objects = objects.into_iter().map(|(head, body)| {
        let number = head.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap();
        (number, body)
    });
    let objects: Vec<(&str, &str)> = objects.collect();
    let tables: HashMap<&str, HashMap<u16, String>> = objects
        .iter()
        .filter_map(|(number, body)| {
            let (_, to) = body.split_once("/ToUnicode ")?;
            let to = to.split(' ').next()?;
            let (_, table) = objects.iter().find(|(number, _)| *number == to)?;
            Some((*number, table_of(&stream(table)?)))
        })
        .collect();
    let object = |number: &str| {
        let (_, body) = objects.iter().find(|(known, _)| *known == number).unwrap();
        *body
    };
    let after = |body: &str, key: &str| {
        let (_, rest) = body.split_once(key).unwrap();
        rest.split(' ').next().unwrap().to_owned()
    };
    let pages = objects.iter().filter(|(_, body)| body.contains("/Type/Page/"));
    pages
        .map(|(_, page)| {
            // A name of a font is its page's own.
            let (_, fonts) = object(&after(page, "/Resources ")).split_once("/Font<<").unwrap();
            let fonts = fonts.split(">>").next().unwrap().split('/').skip(1);
            let fonts = fonts.map(|font| {
                let (name, rest) = font.split_once(' ').unwrap();
                (name, &tables[rest.split(' ').next().unwrap()])
            });
            shown(&stream(object(&after(page, "/Contents "))).unwrap(), &fonts.collect())
        })
        .collect()
}

/// The bytes behind an object, unpacked.
fn stream(body: &str) -> Option<String> {
    let (head, rest) = body.split_once("stream\n")?;
    let (data, _) = rest.rsplit_once("endstream")?;
    let packed: Vec<u8> = data.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    if !head.contains("/FlateDecode") {
        return Some(data.to_owned());
    }
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut bytes).ok()?;
    Some(bytes.into_iter().map(char::from).collect())
}

/// `<glyph> <text in UTF-16>`, one a line.
fn table_of(cmap: &str) -> HashMap<u16, String> {
    let inside = |hex: &str| units(hex.strip_prefix('<')?.strip_suffix('>')?);
    let entries = cmap.lines().skip_while(|line| !line.ends_with("beginbfchar"));
    let entries = entries.filter_map(|line| {
        let (glyph, text) = line.split_once(' ')?;
        Some((*inside(glyph)?.first()?, String::from_utf16(&inside(text)?).ok()?))
    });
    entries.collect()
}

/// What the texts of a page say: by their glyphs, or as the file itself says that they read.
fn shown(page: &str, fonts: &HashMap<&str, &HashMap<u16, String>>) -> String {
    let (mut out, mut before) = (String::new(), "");
    for text in page.split(" Tr/") {
        if let Some((_, strings)) = text.split_once(" Tm") {
            let name = text.split(' ').next().unwrap();
            let actual = before.strip_suffix(">>>BDC 0");
            match actual.and_then(|before| before.rsplit_once("/ActualText<FEFF")) {
                Some((_, hex)) => out.push_str(&String::from_utf16(&units(hex).unwrap()).unwrap()),
                None => out.extend(
                    bytes_of(strings)
                        .chunks(2)
                        .map(|pair| {
                            let glyph = u16::from_be_bytes([pair[0], pair[1]]);
                            fonts[name]
                                .get(&glyph)
                                .unwrap_or_else(|| panic!("glyph {glyph} of {name}"))
                        })
                        .cloned(),
                ),
            }
            if text.contains("\nET") {
                out.push('\n');
            }
        }
        before = text;
    }
    out
}

/// Digits of numbers of 16 bits.
fn units(hex: &str) -> Option<Vec<u16>> {
    let digits = |at: usize| u16::from_str_radix(hex.get(at..at + 4)?, 16).ok();
    (0..hex.len()).step_by(4).map(digits).collect()
}

/// The strings of an operand: in brackets with escapes, or in hexadecimal digits.
fn bytes_of(array: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = array.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '(' => {
                let mut depth = 1;
                while let Some(c) = chars.next() {
                    // Brackets that match need no escape.
                    depth += i32::from(c == '(') - i32::from(c == ')');
                    if depth == 0 {
                        break;
                    }
                    let plain = |c: char| u8::try_from(u32::from(c)).unwrap();
                    bytes.push(match c {
                        '\\' => match chars.next().unwrap() {
                            'n' => b'\n',
                            'r' => b'\r',
                            't' => b'\t',
                            'b' => 8,
                            'f' => 12,
                            digit @ '0'..='7' => {
                                let mut octal = digit.to_string();
                                while octal.len() < 3
                                    && let Some(next) = chars.next_if(|c| ('0'..='7').contains(c))
                                {
                                    octal.push(next);
                                }
                                u8::from_str_radix(&octal, 8).unwrap()
                            }
                            other => plain(other),
                        },
                        other => plain(other),
                    });
                }
            }
            '<' => {
                let digits: String = chars.by_ref().take_while(|c| *c != '>').collect();
                let pairs = (0..digits.len()).step_by(2);
                bytes.extend(pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()));
            }
            ']' | 'T' => break,
            _ => {}
        }
    }
    bytes
}
