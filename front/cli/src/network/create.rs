//! `trunkline network create`.

use crate::error::Error;
use crate::options::{self, DriverOptionParser};
use crate::output;
use crate::session::Session;
use api::call;
use model::NetworkSpec;

#[derive(Debug, clap::Args)]
#[command(after_long_help = options::help())]
pub(crate) struct Args {
    /// The driver: macvlan, ipvlan or overlay
    #[arg(short, long, default_value = "macvlan")]
    driver: String,
    /// A subnet, such as 192.168.1.0/24 or fd00:1::/64
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    subnet: Vec<String>,
    /// The gateway of a subnet
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    gateway: Vec<String>,
    /// The part of a subnet that dynamic addresses come from: a prefix, or first-last
    #[arg(long, value_name = "RANGE", value_delimiter = ',')]
    ip_range: Vec<String>,
    /// An address that somebody else has
    #[arg(long, value_name = "NAME=IP")]
    aux_address: Vec<String>,
    /// Give out IPv6 addresses
    #[arg(long)]
    ipv6: bool,
    /// Give out no way to other networks
    #[arg(long)]
    internal: bool,
    /// A label, for filters
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// A driver option; `--help` lists them
    #[arg(short, long = "opt", value_name = "KEY=VALUE", value_parser = DriverOptionParser, hide_possible_values = true)]
    opt: Vec<String>,
    /// Print what would be done, as commands of iproute2
    #[arg(long)]
    dry_run: bool,
    /// The network's name
    name: String,
}

impl Args {
    fn spec(&self) -> Result<NetworkSpec, Error> {
        Ok(NetworkSpec {
            name: self.name.clone(),
            driver: self.driver.clone(),
            subnets: self.subnet.clone(),
            gateways: self.gateway.clone(),
            ip_ranges: self.ip_range.clone(),
            aux_addresses: options::pairs("aux-address", &self.aux_address)?,
            ipv6: self.ipv6,
            internal: self.internal,
            labels: options::pairs("label", &self.label)?,
            options: options::pairs("option", &self.opt)?,
        })
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<u8, Error> {
    let spec = args.spec()?;
    let mut daemon = session.daemon()?;
    if args.dry_run {
        let plan = daemon.send(&call::plan_network(&spec))?;
        plan.warnings.iter().for_each(|warning| output::warn(warning));
        plan.commands.iter().try_for_each(|command| output::line(command))?;
    } else {
        let created = daemon.send(&call::create_network(&spec))?;
        created.warnings.iter().for_each(|warning| output::warn(warning));
        output::line(created.id.as_str())?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn dockers_words() {
        let line = "create -d ipvlan --subnet=192.168.214.0/24 --subnet 192.168.212.0/24,fd00::/64 \
                    --gateway=192.168.214.1 --ip-range=192.168.214.128/25 --aux-address=a=192.168.214.5 \
                    --ipv6 --internal --label x=y -o ipvlan_mode=l3 --opt parent=eth0.215 db_net";
        let spec = Only::parse_from(line.split_whitespace()).args.spec().unwrap();
        assert_eq!(spec.name, "db_net");
        assert_eq!(spec.driver, "ipvlan");
        assert_eq!(spec.subnets, ["192.168.214.0/24", "192.168.212.0/24", "fd00::/64"]);
        assert_eq!(spec.options["parent"], "eth0.215");
        assert_eq!(spec.aux_addresses["a"], "192.168.214.5");
        assert!(spec.ipv6 && spec.internal);
    }
}
