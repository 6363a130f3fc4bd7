//! Shrinks a picture to a thumbnail. Two forms of input: the picture itself (`image/png`,
//! `image/jpeg`) for a box of 128 by 128, or JSON with the picture in base64 and a box of any size.
//! The output is a PNG.

use std::io::Cursor;

use base64::prelude::{BASE64_STANDARD, Engine};
use cofferdam_guest::{Failure, Input, Json, OrFail, Payload};
use image::{ImageFormat, ImageReader, Limits};
use schemars::JsonSchema;
use serde::Deserialize;

/// The longest side of a picture that is decoded at all.
const MAX_SIDE: u32 = 8192;
/// What decoding may allocate: a small file can claim to be an enormous picture.
const MAX_DECODED_BYTES: u64 = 64 << 20;

/// A picture, and the box its thumbnail has to fit in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Picture {
    /// A PNG or JPEG file in base64.
    image_base64: String,
    #[serde(default = "default_side")]
    width: u32,
    #[serde(default = "default_side")]
    height: u32,
}

const fn default_side() -> u32 {
    128
}

/// The input in either form.
struct Request {
    file: Vec<u8>,
    width: u32,
    height: u32,
}

impl Input for Request {
    fn decode(payload: Payload) -> Result<Self, Failure> {
        if payload.essence().starts_with("image/") {
            let file = payload.load()?.body;
            return Ok(Self {
                file,
                width: default_side(),
                height: default_side(),
            });
        }
        let Json(picture) = Json::<Picture>::decode(payload)?;
        let file = BASE64_STANDARD
            .decode(&picture.image_base64)
            .or_invalid_input("`image_base64`")?;
        Ok(Self {
            file,
            width: picture.width,
            height: picture.height,
        })
    }

    fn schema() -> Option<String> {
        <Picture as Input>::schema()
    }
}

/// Shrinks a PNG or JPEG picture to a PNG thumbnail that fits in a box.
#[cofferdam_guest::task]
fn thumbnail(request: Request) -> Result<Payload, Failure> {
    let Request {
        file,
        width,
        height,
    } = request;
    let sides = 1..=MAX_SIDE;
    (sides.contains(&width) && sides.contains(&height))
        .then_some(())
        .or_invalid_input(format!("`width` and `height` are from 1 to {MAX_SIDE}"))?;

    let mut reader = ImageReader::new(Cursor::new(file)).with_guessed_format()?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let picture = reader.decode().or_invalid_input("the picture")?;

    // A picture that already fits is not enlarged.
    let small = picture.thumbnail(width.min(picture.width()), height.min(picture.height()));
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, ImageFormat::Png)?;
    Ok(Payload::new("image/png", png.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_guest::testing::run;

    const JPEG: &[u8] = include_bytes!("../data/mountains.jpg");
    const PNG: &[u8] = include_bytes!("../data/chart.png");

    fn size(output: &Payload) -> (u32, u32) {
        assert_eq!(output.content_type, "image/png");
        let png = image::load_from_memory_with_format(&output.body, ImageFormat::Png).unwrap();
        (png.width(), png.height())
    }

    #[test]
    fn a_raw_picture_fits_the_default_box() {
        let jpeg = run::<thumbnail>(Payload::new("image/jpeg", JPEG)).unwrap();
        assert_eq!(size(&jpeg), (128, 96));
        let png = run::<thumbnail>(Payload::new("image/png", PNG)).unwrap();
        assert_eq!(size(&png), (128, 80));
    }

    #[test]
    fn json_chooses_the_box_and_nothing_is_blown_up() {
        let request = |side: u32| {
            let image = BASE64_STANDARD.encode(JPEG);
            format!(r#"{{"image_base64": "{image}", "width": {side}, "height": {side}}}"#)
        };
        assert_eq!(size(&run::<thumbnail>(request(40)).unwrap()), (40, 30));
        assert_eq!(size(&run::<thumbnail>(request(4000)).unwrap()), (640, 480));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for input in [
            Payload::new("image/png", "no picture"),
            Payload::json(r#"{"image_base64": "?"}"#),
            Payload::json(r#"{"image_base64": "", "width": 0}"#),
        ] {
            let failure = run::<thumbnail>(input).unwrap_err();
            assert!(matches!(failure, Failure::InvalidInput(_)), "{failure}");
        }
    }
}
