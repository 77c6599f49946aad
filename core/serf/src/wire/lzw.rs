//! LZW as Go's compress/lzw writes it with LSB order and eight-bit literals.

use super::kind;
use crate::error::{Error, Result, malformed};
use crate::msgpack::{Reader, Writer};
use weezl::{BitOrder, LzwStatus, decode, encode};

/// memberlist's only algorithm.
const LZW: u8 = 0;

/// A compress message around `message`, type bytes included.
pub(crate) fn compress(message: &[u8]) -> Option<Vec<u8>> {
    let packed = encode::Encoder::new(BitOrder::Lsb, 8).encode(message).ok()?;
    let mut writer = Writer::message(kind::COMPRESS);
    writer.map(2).str("Algo").uint(LZW.into()).str("Buf").raw(&packed);
    Some(writer.0)
}

/// What a compress message holds, from what follows its type byte; at most `limit` bytes.
pub(crate) fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>> {
    let (mut algorithm, mut packed) = (LZW, &[][..]);
    Reader(body).fields(|key, value| {
        match key {
            b"Algo" => algorithm = value.u8()?,
            b"Buf" => packed = value.raw()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    if algorithm != LZW {
        return malformed("compression: unknown algorithm");
    }
    unpack(packed, limit)
}

fn unpack(mut packed: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut decoder = decode::Decoder::new(BitOrder::Lsb, 8);
    let (mut plain, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let result = decoder.decode_bytes(packed, &mut piece);
        packed = &packed[result.consumed_in..];
        if plain.len() + result.consumed_out > limit {
            return Err(Error::TooLong { what: "decompressed message", limit });
        }
        plain.extend_from_slice(&piece[..result.consumed_out]);
        match result.status {
            Ok(LzwStatus::Done) => return Ok(plain),
            Ok(LzwStatus::Ok) if result.consumed_in + result.consumed_out > 0 => {}
            Ok(LzwStatus::Ok | LzwStatus::NoProgress) | Err(_) => return malformed("compressed bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bomb_stays_small() {
        let bomb = compress(&vec![0; 1 << 20]).unwrap();
        assert!(bomb.len() < 4096);
        assert_eq!(decompress(&bomb[1..], 1000), Err(Error::TooLong { what: "decompressed message", limit: 1000 }));
        assert_eq!(decompress(&bomb[1..], 1 << 20).map(|plain| plain.len()), Ok(1 << 20));
    }

    proptest! {
        #[test]
        fn comes_back(plain: Vec<u8>) {
            let packed = compress(&plain).unwrap();
            prop_assert_eq!(decompress(&packed[1..], plain.len()), Ok(plain));
        }

        #[test]
        fn anything(body: Vec<u8>) {
            let _ = unpack(&body, 1 << 16);
        }
    }
}
