resource "aws_db_instance" "courier" {
  identifier          = "courier-production"
  engine              = "postgres"
  instance_class      = "db.t4g.medium"
  allocated_storage   = 50
  deletion_protection = true
  skip_final_snapshot = false
}

resource "aws_security_group_rule" "api" {
  type              = "ingress"
  from_port         = 8090
  to_port           = 8090
  protocol          = "tcp"
  cidr_blocks       = ["10.0.0.0/8"]
  security_group_id = "sg-0courier"
}
