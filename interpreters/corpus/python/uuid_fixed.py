import uuid
print(uuid.uuid5(uuid.NAMESPACE_DNS, "example.org"), uuid.UUID(int=5), uuid.uuid4().version, len({uuid.uuid4() for _ in range(50)}))
