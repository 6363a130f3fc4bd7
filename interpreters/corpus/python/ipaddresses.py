import ipaddress as ip
n = ip.ip_network("10.1.0.0/22")
print(n.num_addresses, list(n.subnets(new_prefix=24))[-1], ip.ip_address("10.1.3.7") in n, ip.ip_address("::1").is_loopback, ip.summarize_address_range(ip.ip_address("1.0.0.0"), ip.ip_address("1.0.0.3")).__next__())
