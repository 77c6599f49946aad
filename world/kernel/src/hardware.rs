//! What sysfs tells about a network card.

use model::LinkName;
use plan::Hardware;
use std::{fs, path::Path, sync::OnceLock};

fn word(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Looks a link up in /sys/class/net: the mount's namespace, which is the host's.
pub(crate) fn look(name: &LinkName) -> Hardware {
    let link = Path::new("/sys/class/net").join(name.as_str());
    let driver = fs::read_link(link.join("device/driver")).ok();
    Hardware {
        wireless: link.join("wireless").exists() || link.join("phy80211").exists(),
        driver: driver.and_then(|path| Some(path.file_name()?.to_str()?.to_owned())),
        machine: machine(),
    }
}

/// The machine's maker and model, which stay the same while it runs.
fn machine() -> Option<String> {
    static MACHINE: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let dmi = ["sys_vendor", "product_name"].map(|key| word(Path::new("/sys/class/dmi/id").join(key)));
        let words = dmi.into_iter().flatten().collect::<Vec<_>>().join(" ");
        (!words.is_empty()).then_some(words)
    };
    MACHINE.get_or_init(read).clone()
}
